// Package sock holds the socket options of Linux that package net does not offer.
package sock

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"cnilab.dev/components/responder/internal/ip6"
)

// Options and values of linux/in.h, linux/in6.h, linux/tcp.h that package syscall does not name.
const (
	ipMTU              = 14
	ipPMTUDiscProbe    = 3
	ipv6RecvPktinfo    = 49
	ipv6Pktinfo        = 50
	ipv6RecvHoplimit   = 51
	ipv6Hoplimit       = 52
	ipv6MTU            = 24
	ipv6HopOpts        = 54
	ipv6DstOpts        = 59
	ipv6MTUDiscover    = 23
	ipv6RecvErr        = 25
	ipv6DontFrag       = 62
	icmp6Filter        = 1
	tcpSaveSyn         = 27
	tcpSavedSyn        = 28
	tcpInfoRetrans     = 100 // offset of tcpi_total_retrans in struct tcp_info
	soRcvbufForce      = 33
	udpReceiveBuffer   = 4 << 20
	originLocal        = 1
	originICMP         = 2
	originICMP6        = 3
	extendedErrLen     = 16
	sockaddrAddrOffset = 4
)

// Control runs a function on the file descriptor of a connection or listener.
func Control(c syscall.Conn, f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// receiveInfo asks for the TTL and the destination address of every datagram, and for room for bursts.
func receiveInfo(c *net.UDPConn, v6 bool) error {
	return Control(c, func(fd int) error {
		// The forced size needs CAP_NET_ADMIN, which pods lack; the plain one is cut to net.core.rmem_max.
		if syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, soRcvbufForce, udpReceiveBuffer) != nil {
			_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, udpReceiveBuffer)
		}
		if v6 {
			if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, ipv6RecvHoplimit, 1); err != nil {
				return err
			}
			return syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, ipv6RecvPktinfo, 1)
		}
		if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_RECVTTL, 1); err != nil {
			return err
		}
		return syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_PKTINFO, 1)
	})
}

// ReceiveICMP6 asks a raw socket for the hop limit and the destination of every message of the given types (RFC 3542
// §3.2 and §6); a raw socket of IPv6 has no IP header that could tell.
func ReceiveICMP6(c *net.IPConn, types ...byte) error {
	var filter syscall.ICMPv6Filter
	for i := range filter.Data {
		filter.Data[i] = ^uint32(0) // a bit for each type that is not wanted
	}
	for _, kind := range types {
		filter.Data[kind>>5] &^= 1 << (kind & 31)
	}
	return Control(c, func(fd int) error {
		for _, option := range []int{ipv6RecvHoplimit, ipv6RecvPktinfo} {
			if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, option, 1); err != nil {
				return err
			}
		}
		return syscall.SetsockoptICMPv6Filter(fd, syscall.IPPROTO_ICMPV6, icmp6Filter, &filter)
	})
}

// Extend has every datagram carry an extension header whose only option is padding (RFC 8200 §4.2 to §4.6).
func Extend(c *net.UDPConn, kind string) error {
	option, known := map[string]int{"hop-by-hop": ipv6HopOpts, "destination": ipv6DstOpts}[kind]
	if !known {
		return fmt.Errorf("extension header %q", kind)
	}
	// Next header, which the kernel fills in; length beyond the first eight bytes; PadN of four bytes.
	padding := string([]byte{0, 0, 1, 4, 0, 0, 0, 0})
	return Control(c, func(fd int) error {
		return syscall.SetsockoptString(fd, syscall.IPPROTO_IPV6, option, padding)
	})
}

// Info is what the control messages of a datagram say.
type Info struct {
	TTL *int
	Dst netip.Addr // to which of our addresses it was sent
}

// ParseInfo reads the control messages that a socket of ours asked for.
func ParseInfo(oob []byte) Info {
	var info Info
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return info
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == syscall.IPPROTO_IP && m.Header.Type == syscall.IP_TTL && len(m.Data) >= 4,
			m.Header.Level == syscall.IPPROTO_IPV6 && m.Header.Type == ipv6Hoplimit && len(m.Data) >= 4:
			ttl := int(int32(binary.NativeEndian.Uint32(m.Data)))
			info.TTL = &ttl
		case m.Header.Level == syscall.IPPROTO_IP && m.Header.Type == syscall.IP_PKTINFO && len(m.Data) >= 12:
			info.Dst = netip.AddrFrom4([4]byte(m.Data[8:12]))
		case m.Header.Level == syscall.IPPROTO_IPV6 && m.Header.Type == ipv6Pktinfo && len(m.Data) >= 16:
			info.Dst = netip.AddrFrom16([16]byte(m.Data[:16])).Unmap()
		}
	}
	return info
}

// From makes the control message that sends a datagram from a given address of ours, so that an answer comes from the
// address that was asked.
func From(addr netip.Addr) []byte {
	if !addr.IsValid() {
		return nil
	}
	level, kind, data := syscall.IPPROTO_IP, syscall.IP_PKTINFO, make([]byte, 12)
	if addr.Is4() {
		a := addr.As4()
		copy(data[4:8], a[:]) // ipi_spec_dst
	} else {
		level, kind, data = syscall.IPPROTO_IPV6, ipv6Pktinfo, make([]byte, 20)
		a := addr.As16()
		copy(data, a[:])
	}
	oob := make([]byte, syscall.CmsgSpace(len(data)))
	h := (*syscall.Cmsghdr)(unsafe.Pointer(&oob[0]))
	h.Level, h.Type = int32(level), int32(kind)
	h.SetLen(syscall.CmsgLen(len(data)))
	copy(oob[syscall.CmsgLen(0):], data)
	return oob
}

// saveSyn makes a listener keep the headers of the SYN of every connection it accepts.
func saveSyn(fd int) error {
	return syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpSaveSyn, 1)
}

// SavedSyn is the TTL and the MSS option of the SYN that opened a connection; nil where it cannot be known.
func SavedSyn(c *net.TCPConn) (ttl, mss *int) {
	buf := make([]byte, 256)
	size := uint32(len(buf))
	err := Control(c, func(fd int) error {
		_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), syscall.IPPROTO_TCP, tcpSavedSyn,
			uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil || int(size) > len(buf) {
		return nil, nil
	}
	return ParseSyn(buf[:size])
}

// Resent is how many segments of a connection were sent again so far; nil where it cannot be known.
func Resent(c *net.TCPConn) *int {
	buf := make([]byte, tcpInfoRetrans+4)
	size := uint32(len(buf))
	err := Control(c, func(fd int) error {
		_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO,
			uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil || int(size) < len(buf) {
		return nil
	}
	count := int(binary.NativeEndian.Uint32(buf[tcpInfoRetrans:]))
	return &count
}

// ParseSyn reads TTL and MSS from the IP and TCP headers of a SYN.
func ParseSyn(b []byte) (ttl, mss *int) {
	if len(b) < 20 {
		return nil, nil
	}
	var hops, offset int
	switch b[0] >> 4 {
	case 4:
		hops, offset = int(b[8]), int(b[0]&15)*4
	case 6:
		packet, whole := ip6.Parse(b)
		if !whole {
			return nil, nil
		}
		hops, offset = packet.HopLimit, len(b)-len(packet.Payload)
	default:
		return nil, nil
	}
	ttl = &hops
	if len(b) < offset+20 {
		return ttl, nil
	}
	tcp := b[offset:]
	end := min(int(tcp[12]>>4)*4, len(tcp))
	for i := 20; i < end; {
		switch kind := tcp[i]; {
		case kind == 0:
			return ttl, nil
		case kind == 1:
			i++
			continue
		case i+1 >= end || tcp[i+1] < 2:
			return ttl, nil
		case kind == 2 && i+4 <= end:
			value := int(binary.BigEndian.Uint16(tcp[i+2:]))
			return ttl, &value
		}
		i += int(tcp[i+1])
	}
	return ttl, nil
}

// ReuseAddr lets a probe take a source port that an earlier one left in TIME-WAIT. For a Dialer's Control.
func ReuseAddr(_, _ string, raw syscall.RawConn) error {
	var inner error
	if err := raw.Control(func(fd uintptr) {
		inner = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}); err != nil {
		return err
	}
	return inner
}
