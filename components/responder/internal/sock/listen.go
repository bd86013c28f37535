package sock

import (
	"context"
	"errors"
	"net"
	"strconv"
	"syscall"
)

// Families end the names of networks of package net. A server has a socket for each, so that an IPv4 client has an
// IPv4 address at every server, and so that nothing depends on net.ipv6.bindv6only.
var Families = []string{"4", "6"}

// ListenTCP listens on a port at every address of both families, and has the SYN of every connection kept.
//
// A family that the kernel does not have (ipv6.disable=1) is no failure; what else goes wrong is in the errors.
func ListenTCP(port uint16) ([]net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		// Without the saved SYN the answer has no TTL, and all else works.
		return raw.Control(func(fd uintptr) { _ = saveSyn(int(fd)) })
	}}
	config.SetMultipathTCP(false) // package net's default, which has no TCP_SAVED_SYN
	return each(port, func(family, address string) (net.Listener, error) {
		return config.Listen(context.Background(), "tcp"+family, address)
	})
}

// ListenUDP is the same for UDP; the sockets tell TTL and destination of every datagram.
func ListenUDP(port uint16) ([]*net.UDPConn, error) {
	return each(port, func(family, address string) (*net.UDPConn, error) {
		at, err := net.ResolveUDPAddr("udp"+family, address)
		if err != nil {
			return nil, err
		}
		conn, err := net.ListenUDP("udp"+family, at)
		if err != nil {
			return nil, err
		}
		if err := receiveInfo(conn, family == "6"); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return conn, nil
	})
}

func each[T any](port uint16, open func(family, address string) (T, error)) (opened []T, failed error) {
	for _, family := range Families {
		one, err := open(family, ":"+strconv.Itoa(int(port)))
		switch {
		case err == nil:
			opened = append(opened, one)
		case !errors.Is(err, syscall.EAFNOSUPPORT):
			failed = errors.Join(failed, err)
		}
	}
	return opened, failed
}
