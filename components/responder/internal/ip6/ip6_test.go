package ip6

import (
	"net/netip"
	"testing"
)

// packet is one from fd00::1 to fd00::2 with hop limit 63.
func packet(next byte, rest ...byte) []byte {
	b := make([]byte, HeaderLen)
	b[0], b[6], b[7] = 0x60, next, 63
	b[8], b[23], b[24], b[39] = 0xfd, 1, 0xfd, 2
	return append(b, rest...)
}

func TestExtensionHeadersAreReadPast(t *testing.T) {
	options := []byte{Routing, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // hop by hop, 16 bytes
	routing := []byte{Fragment, 0, 4, 0, 0, 0, 0, 0}
	first := []byte{ICMP, 0, 0, 1, 0, 0, 0, 7} // offset 0, more to come
	echo := []byte{128, 0, 0, 0, 0x12, 0x34, 0, 1}
	b := packet(HopByHop)
	for _, part := range [][]byte{options, routing, first, echo} {
		b = append(b, part...)
	}
	p, ok := Parse(b)
	if !ok || p.Protocol != ICMP || p.HopLimit != 63 || p.Later || string(p.Payload) != string(echo) {
		t.Fatalf("got %+v, %v", p, ok)
	}
	if p.Src != netip.MustParseAddr("fd00::1") || p.Dst != netip.MustParseAddr("fd00::2") {
		t.Errorf("from %v to %v", p.Src, p.Dst)
	}
	for n := range b[:len(b)-len(echo)] {
		if _, ok := Parse(b[:n]); ok {
			t.Errorf("%d of %d bytes of headers are a packet", n, len(b)-len(echo))
		}
	}
}

func TestLaterFragmentsHaveNoHeaderOfTheirOwn(t *testing.T) {
	// What follows looks like an extension header, and is payload.
	p, ok := Parse(packet(Fragment, Options, 0, 0x05, 0xa9, 0, 0, 0, 7, 6, 255, 0, 0))
	if !ok || !p.Later || p.Protocol != Options || len(p.Payload) != 4 {
		t.Errorf("got %+v, %v", p, ok)
	}
}

func TestIPv4IsNoIPv6(t *testing.T) {
	b := packet(ICMP)
	b[0] = 0x45
	if p, ok := Parse(b); ok {
		t.Errorf("got %+v", p)
	}
}
