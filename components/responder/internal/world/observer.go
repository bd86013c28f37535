package world

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"cnilab.dev/components/responder/internal/ip6"
	"cnilab.dev/components/responder/internal/wire"
)

const (
	ethPIP         = 0x0800
	ethPIPv6       = 0x86dd
	packetOutgoing = 4
	echoRequest    = 8
	echoRequest6   = 128
	kept           = 256 // bytes of a packet: its headers and the nonce
)

// observe logs every echo request that arrives on any interface, also those that are only forwarded.
func observe(journal *Journal) error {
	// The offset of the protocol in a header, and which to keep: behind others, ICMPv6 may be too.
	err := watch(ethPIP, []syscall.SockFilter{load(9), match(syscall.IPPROTO_ICMP, 0)}, echo, journal)
	err6 := watch(ethPIPv6, []syscall.SockFilter{
		load(6), match(ip6.ICMP, 4), match(ip6.Fragment, 3), match(ip6.HopByHop, 2), match(ip6.Options, 1),
		match(ip6.Routing, 0),
	}, echo6, journal)
	return errors.Join(err, err6)
}

// load is the instruction that reads a byte of a packet. Without link headers the IP header is at 0.
func load(offset uint32) syscall.SockFilter {
	return syscall.SockFilter{Code: syscall.BPF_LD | syscall.BPF_B | syscall.BPF_ABS, K: offset}
}

// match is the instruction that goes on to keep a packet, so many tests further on, if the byte is as given.
func match(value uint32, further uint8) syscall.SockFilter {
	jump := syscall.SockFilter{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, Jt: further, K: value}
	if further == 0 {
		jump.Jf = 1 // the last test: over the instruction that keeps
	}
	return jump
}

// watch logs what a filter lets through, and read makes sense of, of one kind of frame.
func watch(kind uint16, filter []syscall.SockFilter, read func([]byte) (Sighting, bool), journal *Journal) error {
	network := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, kind))) // htons
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, network)
	if err != nil {
		return err
	}
	filter = append(filter, syscall.SockFilter{Code: syscall.BPF_RET | syscall.BPF_K, K: kept},
		syscall.SockFilter{Code: syscall.BPF_RET | syscall.BPF_K, K: 0})
	// Deprecated in favour of a package outside the standard library.
	if err := syscall.AttachLsf(fd, filter); err != nil {
		return err
	}
	go func() {
		packet := make([]byte, kept)
		for {
			n, from, err := syscall.Recvfrom(fd, packet, 0)
			if err != nil {
				continue
			}
			link, ok := from.(*syscall.SockaddrLinklayer)
			if !ok || link.Pkttype == packetOutgoing {
				continue
			}
			if seen, ok := read(packet[:n]); ok {
				if device, err := net.InterfaceByIndex(link.Ifindex); err == nil {
					seen.Interface = device.Name
				}
				journal.Add(seen)
			}
		}
	}()
	return nil
}

// echo reads an echo request out of an IPv4 packet; later fragments have no ICMP header and do not count.
func echo(b []byte) (Sighting, bool) {
	if len(b) < 20 || b[0]>>4 != 4 || b[9] != syscall.IPPROTO_ICMP || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		return Sighting{}, false
	}
	icmp := b[min(int(b[0]&15)*4, len(b)):]
	src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	return request("icmp", echoRequest, src, dst, int(b[8]), icmp)
}

// echo6 reads an echo request out of an IPv6 packet, behind whatever extension headers.
func echo6(b []byte) (Sighting, bool) {
	packet, ok := ip6.Parse(b)
	if !ok || packet.Protocol != ip6.ICMP || packet.Later {
		return Sighting{}, false
	}
	return request("icmp6", echoRequest6, packet.Src, packet.Dst, packet.HopLimit, packet.Payload)
}

// request reads an echo request of either version (RFC 792, RFC 4443 §4.1).
func request(proto string, kind byte, src, dst netip.Addr, ttl int, icmp []byte) (Sighting, bool) {
	if len(icmp) < 8 || icmp[0] != kind {
		return Sighting{}, false
	}
	id, seq := int(binary.BigEndian.Uint16(icmp[4:])), int(binary.BigEndian.Uint16(icmp[6:]))
	seen := Sighting{Proto: proto, Src: src.String(), Dst: dst.String(), TTL: &ttl, ICMPID: &id, ICMPSeq: &seq}
	if header, ok := wire.Parse(icmp[8:]); ok {
		seen.Nonce = wire.Hex(header.Nonce)
	}
	return seen, true
}
