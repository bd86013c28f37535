package world

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"

	"cnilab.dev/components/responder/internal/wire"
)

const (
	ethPIP         = 0x0800
	packetOutgoing = 4
	echoRequest    = 8
)

// observe logs every echo request that arrives on any interface, also those that are only forwarded.
func observe(journal *Journal) error {
	network := int(binary.NativeEndian.Uint16([]byte{ethPIP >> 8, ethPIP & 0xff})) // htons
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, network)
	if err != nil {
		return err
	}
	// Without link headers the IP header is at 0: keep protocol ICMP only, 256 bytes of it.
	filter := []syscall.SockFilter{
		{Code: syscall.BPF_LD | syscall.BPF_B | syscall.BPF_ABS, K: 9},
		{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, Jf: 1, K: syscall.IPPROTO_ICMP},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: 256},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: 0},
	}
	// Deprecated in favour of a package outside the standard library.
	if err := syscall.AttachLsf(fd, filter); err != nil {
		return err
	}
	go func() {
		packet := make([]byte, 2048)
		for {
			n, from, err := syscall.Recvfrom(fd, packet, 0)
			if err != nil {
				continue
			}
			link, ok := from.(*syscall.SockaddrLinklayer)
			if !ok || link.Pkttype == packetOutgoing {
				continue
			}
			if seen, ok := echo(packet[:n]); ok {
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
	if len(b) < 20 || b[0]>>4 != 4 || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		return Sighting{}, false
	}
	icmp := b[min(int(b[0]&15)*4, len(b)):]
	if len(icmp) < 8 || icmp[0] != echoRequest {
		return Sighting{}, false
	}
	ttl, id, seq := int(b[8]), int(binary.BigEndian.Uint16(icmp[4:])), int(binary.BigEndian.Uint16(icmp[6:]))
	src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	seen := Sighting{Proto: "icmp", Src: src.String(), Dst: dst.String(), TTL: &ttl, ICMPID: &id, ICMPSeq: &seq}
	if header, ok := wire.Parse(icmp[8:]); ok {
		seen.Nonce = wire.Hex(header.Nonce)
	}
	return seen, true
}
