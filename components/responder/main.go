// Command responder is both ends of every probe of a lab, and the world outside it.
//
//	responder serve      answers TCP and UDP in a pod: who it is, whom it saw, at which address, with which TTL
//	responder run        the agent: a plan of probes on standard input, one line of JSON per probe
//	responder world      the router's services: web, DNS zone, responder, and a log of all that arrives
//	responder sandboxes  lists the pods that containerd runs on a node
//	responder batch      runs many commands in many network namespaces at once
//	responder canary     sends a marked frame out of an interface, which proves that a capture records
//	responder unpack     makes a tree of programs of an archive on standard input
//	responder in         runs a program that sees such a tree as its root
//	responder wait       does nothing until it is told to end
//
// It is one static program, of the standard library and golang.org/x/net/dns/dnsmessage alone, and starts in a few
// milliseconds, because a probe run starts it in every pod.
package main

import (
	"fmt"
	"os"

	"cnilab.dev/components/responder/internal/agent"
	"cnilab.dev/components/responder/internal/kit"
	"cnilab.dev/components/responder/internal/node"
	"cnilab.dev/components/responder/internal/serve"
	"cnilab.dev/components/responder/internal/world"
)

const usage = "usage: responder serve|run|world|sandboxes|batch|canary|unpack|in|wait [options]"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	commands := map[string]func(args []string) error{
		"serve":     serve.Main,
		"run":       agent.Main,
		"world":     world.Main,
		"sandboxes": node.Sandboxes,
		"batch":     node.Batch,
		"canary":    node.Canary,
		"unpack":    kit.Unpack,
		"in":        kit.In,
		"wait":      kit.Wait,
	}
	command, known := commands[os.Args[1]]
	if !known {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := command(os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "responder %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
