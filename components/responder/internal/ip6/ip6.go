// Package ip6 reads IPv6 packets (RFC 8200).
package ip6

import (
	"encoding/binary"
	"net/netip"
)

// HeaderLen is the length of the header that every packet starts with, in bytes.
const HeaderLen = 40

// Numbers of what can follow a header (IANA, "Protocol Numbers").
const (
	HopByHop = 0
	Routing  = 43
	Fragment = 44
	ICMP     = 58
	Options  = 60
)

// extensionUnit is the grain of an extension header's length, and the length of a fragment header.
const extensionUnit = 8

// Packet is a packet with its extension headers read past.
type Packet struct {
	Src, Dst netip.Addr
	HopLimit int
	Protocol byte   // of the payload
	Payload  []byte // from the first byte behind the extension headers
	Later    bool   // a fragment other than the first: the payload has no header of its own
}

// Parse reads a packet, which may be cut off behind its headers; ok is false when it is none, or cut off in them.
func Parse(b []byte) (p Packet, ok bool) {
	if len(b) < HeaderLen || b[0]>>4 != 6 {
		return Packet{}, false
	}
	p.Src, p.Dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	p.Protocol, p.HopLimit, p.Payload = b[6], int(b[7]), b[HeaderLen:]
	for {
		size := extensionUnit
		switch p.Protocol {
		case HopByHop, Routing, Options:
			if len(p.Payload) < extensionUnit {
				return p, false
			}
			size += int(p.Payload[1]) * extensionUnit
		case Fragment:
			if len(p.Payload) < extensionUnit {
				return p, false
			}
			p.Later = binary.BigEndian.Uint16(p.Payload[2:])>>3 != 0
		default:
			return p, true
		}
		if len(p.Payload) < size {
			return p, false
		}
		p.Protocol, p.Payload = p.Payload[0], p.Payload[size:]
		if p.Later {
			return p, true
		}
	}
}
