// Command nodeinit makes a node out of Linux namespaces and is that node's PID 1.
//
//	nodeinit launch SPEC   join the node's cgroups, make its namespaces, print {"pid": …, "port": …} and exit
//	nodeinit init ROOT     PID 1 inside: root file system, sysctls, services; never called by hand
//	nodeinit settle K=V…   a hook of the container runtime: sets sysctls in a pod's network namespace
//
// A node is one process tree: when PID 1 dies, the kernel ends every process of its PID namespace, and with the last
// process go the network namespace, its links, and all mounts. Nothing has a name outside, so nothing can be left.
package main

import (
	"fmt"
	"os"
	"syscall"
)

func main() {
	// Files of a node are for all its users, whoever calls. What is secret is made with a mode of its own.
	syscall.Umask(0o022)
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "launch":
		err = launch(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "init":
		err = runInit(os.Args[2])
	case len(os.Args) > 2 && os.Args[1] == "settle":
		err = settle(os.Args[2:])
	default:
		fmt.Fprintln(os.Stderr, "usage: nodeinit launch SPEC.json")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nodeinit:", err)
		os.Exit(1)
	}
}
