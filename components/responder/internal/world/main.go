// Package world is what a lab's router plays: a web server, a name server, a responder, and a witness that writes down
// everything that arrives, with the source address it arrived from.
package world

import (
	"flag"
	"fmt"
	"os"

	"cnilab.dev/components/responder/internal/serve"
	"cnilab.dev/components/responder/internal/wire"
)

// Main is `responder world`.
func Main(args []string) error {
	flags := flag.NewFlagSet("world", flag.ContinueOnError)
	name := flags.String("name", serve.DefaultName(), "token of the responder, and the name on the web page")
	path := flags.String("log", "/var/log/world.jsonl", "file to append to, one JSON object per line")
	domain := flags.String("zone", "outside.test", "zone that the name server is authoritative for")
	address := flags.String("address", "8.8.8.8", "address of www and of every name below probe in the zone")
	address6 := flags.String("address6", "2001:4860:4860::8888", "the same in IPv6, while this machine has it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	zone, err := NewZone(*domain, *address, *address6)
	if err != nil {
		return err
	}
	journal, err := Open(*path)
	if err != nil {
		return err
	}
	responder := serve.New(*name, func(seen wire.Answer) { journal.Add(fromAnswer(seen)) })
	responder.Open(serve.DefaultPort)
	services := map[string]func() error{
		"web server":    func() error { return serveWeb(*name, journal) },
		"name server":   func() error { return serveDNS(zone, journal) },
		"ICMP observer": func() error { return observe(journal) },
	}
	for what, start := range services {
		if err := start(); err != nil {
			fmt.Fprintf(os.Stderr, "responder world: %s: %v\n", what, err)
		}
	}
	serve.WaitForEnd()
	return nil
}
