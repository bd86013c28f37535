// Package serve is the responder: it answers every request with what it saw of it.
package serve

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

// DefaultPort is where every responder of a lab listens.
const DefaultPort = 8080

// Main is `responder serve`.
func Main(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	name := flags.String("name", DefaultName(), "token: the name to answer with")
	list := flags.String("ports", strconv.Itoa(DefaultPort), "TCP and UDP ports, separated by commas")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ports, err := ParsePorts(*list)
	if err != nil {
		return err
	}
	server := New(*name, nil)
	opened := 0
	for _, port := range ports {
		opened += server.Open(port)
	}
	if opened == 0 {
		return fmt.Errorf("none of the ports %s could be bound", *list)
	}
	WaitForEnd()
	return nil
}

// WaitForEnd blocks until SIGTERM or SIGINT.
func WaitForEnd() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
}

// DefaultName is the pod's name, or else the host's.
func DefaultName() string {
	if name := os.Getenv("POD_NAME"); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil {
		return "unnamed"
	}
	return name
}

// ParsePorts reads a list such as 8080,22,53.
func ParsePorts(list string) ([]uint16, error) {
	var ports []uint16
	for _, word := range strings.Split(list, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		port, err := strconv.ParseUint(word, 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("%q is not a port: 1 to 65535 expected", word)
		}
		ports = append(ports, uint16(port))
	}
	return ports, nil
}
