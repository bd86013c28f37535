package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"cnilab.dev/components/responder/internal/sock"
	"cnilab.dev/components/responder/internal/wire"
)

// Server answers on any number of ports.
type Server struct {
	Token string
	seen  func(wire.Answer)
	count counters
}

// New makes a server; seen, if not nil, is told of every request before it is answered.
func New(token string, seen func(wire.Answer)) *Server {
	return &Server{Token: token, seen: seen}
}

// Open listens on a port, TCP and UDP. What cannot be bound is reported and skipped, because on a node some ports are
// taken; the return value counts what was opened.
func (s *Server) Open(port uint16) int {
	opened := 0
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		// Without the saved SYN the answer has no TTL, and all else works.
		return raw.Control(func(fd uintptr) { _ = sock.SaveSyn(int(fd)) })
	}}
	config.SetMultipathTCP(false) // package net's default, which has no TCP_SAVED_SYN
	address := ":" + strconv.Itoa(int(port))
	if listener, err := config.Listen(context.Background(), "tcp", address); err != nil {
		skipped("tcp", port, err)
	} else {
		opened++
		go acceptAll(listener, s.serveTCP)
	}
	for _, network := range []string{"udp4", "udp6"} {
		conn, err := listenUDP(network, port)
		if err != nil {
			if network == "udp4" || !errors.Is(err, syscall.EAFNOSUPPORT) {
				skipped(network, port, err)
			}
			continue
		}
		opened++
		go s.serveUDP(conn)
		if network == "udp4" {
			s.openLocal(port)
		}
	}
	return opened
}

// openLocal offers the counts of bursts on an abstract Unix socket of the network namespace.
func (s *Server) openLocal(port uint16) {
	if listener, err := net.Listen("unix", wire.LocalSocket(port)); err == nil {
		go acceptAll(listener, s.serveLocal)
	}
}

func skipped(network string, port uint16, err error) {
	fmt.Fprintf(os.Stderr, "responder: %s port %d skipped: %v\n", network, port, err)
}

// acceptAll serves each connection in a goroutine of its own.
func acceptAll(listener net.Listener, serve func(net.Conn)) {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // out of file descriptors, or a connection that was reset before it was accepted
		}
		go serve(conn)
	}
}

func (s *Server) note(answer wire.Answer) {
	if s.seen != nil {
		s.seen(answer)
	}
}

// plain is an address without the IPv6 form of IPv4.
func plain(a netip.AddrPort) string {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}

func encode(answer any) []byte {
	b, err := json.Marshal(answer)
	if err != nil {
		return []byte("{}") // cannot happen: all fields are plain
	}
	return append(b, '\n')
}
