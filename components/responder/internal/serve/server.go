package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

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

// Open listens on a port, TCP and UDP, in the families that the machine has. What cannot be bound is reported and skipped, because on a node some ports are
// taken; the return value counts what was opened.
func (s *Server) Open(port uint16) int {
	listeners, err := sock.ListenTCP(port)
	skipped("TCP", port, err)
	for _, listener := range listeners {
		go AcceptAll(listener, s.serveTCP)
	}
	conns, err := sock.ListenUDP(port)
	skipped("UDP", port, err)
	for _, conn := range conns {
		go s.serveUDP(conn)
	}
	if len(conns) > 0 {
		s.openLocal(port)
	}
	return len(listeners) + len(conns)
}

// openLocal offers the counts of bursts on an abstract Unix socket of the network namespace.
func (s *Server) openLocal(port uint16) {
	if listener, err := net.Listen("unix", wire.LocalSocket(port)); err == nil {
		go AcceptAll(listener, s.serveLocal)
	}
}

func skipped(transport string, port uint16, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "responder: %s port %d skipped: %v\n", transport, port, err)
	}
}

// AcceptAll serves each connection in a goroutine of its own.
func AcceptAll(listener net.Listener, serve func(net.Conn)) {
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
