package world

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"cnilab.dev/components/responder/internal/dns"
	"cnilab.dev/components/responder/internal/wire"
)

func TestZone(t *testing.T) {
	zone := Zone{"outside.test.", "8.8.8.8"}
	for _, c := range []struct {
		name    string
		kind    uint16
		rcode   int
		answers int
		aa      bool
	}{
		{"www.outside.test.", dns.TypeA, dns.NoError, 1, true},
		{"WWW.Outside.TEST.", dns.TypeA, dns.NoError, 1, true},
		{"x7f3.probe.outside.test.", dns.TypeA, dns.NoError, 1, true},
		{"www.outside.test.", dns.TypeAAAA, dns.NoError, 0, true}, // no such type: not NXDOMAIN (RFC 2308 §2.2)
		{"probe.outside.test.", dns.TypeA, dns.NoError, 0, true},  // an empty non-terminal exists (RFC 8020)
		{"outside.test.", dns.TypeSOA, dns.NoError, 1, true},
		{"a.b.probe.outside.test.", dns.TypeA, dns.NXDomain, 0, true},
		{"nothing.outside.test.", dns.TypeA, dns.NXDomain, 0, true},
		{"notoutside.test.", dns.TypeA, dns.NXDomain, 0, false},
		{".", dns.TypeNS, dns.NoError, 0, false},
	} {
		a := zone.Answer(dns.Message{ID: 3, Recursion: true, Question: dns.Question{Name: c.name, Type: c.kind}})
		if a.ID != 3 || a.Rcode != c.rcode || len(a.Answers) != c.answers || a.Authoritative != c.aa {
			t.Errorf("%s: %+v", c.name, a)
		}
		if len(a.Answers) == 0 && (len(a.Authority) != 1 || a.Authority[0].Type != dns.TypeSOA) {
			t.Errorf("%s: a negative answer needs the SOA to be cached (RFC 2308 §3): %+v", c.name, a.Authority)
		}
	}
}

func TestEveryQueryIsLoggedWithItsSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	journal, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	query, err := (dns.Message{ID: 9, Question: dns.Question{Name: "www.outside.test.", Type: dns.TypeA}}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	peer, local := netip.MustParseAddrPort("172.18.0.11:5353"), netip.MustParseAddrPort("8.8.8.8:53")
	var wait sync.WaitGroup
	for range 50 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			reply(query, Zone{"outside.test.", "8.8.8.8"}, journal, peer, local, nil)
		}()
	}
	wait.Wait()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(content), []byte("\n"))
	if len(lines) != 50 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		var seen Sighting
		if err := json.Unmarshal(line, &seen); err != nil {
			t.Fatal(err)
		}
		if seen.Src != "172.18.0.11" || seen.Sport != 5353 || seen.Dport != 53 || seen.Qname != "www.outside.test." {
			t.Fatalf("got %+v", seen)
		}
	}
}

func TestAnswersAndGarbageAreNotAnswered(t *testing.T) {
	response, err := (dns.Message{Response: true, Question: dns.Question{Name: "a.", Type: 1}}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{nil, {1, 2, 3}, response} {
		if got := reply(b, Zone{}, nil, netip.AddrPort{}, netip.AddrPort{}, nil); got != nil {
			t.Errorf("%x was answered: two servers could talk for ever", b)
		}
	}
}

func TestEchoRequestIsSeen(t *testing.T) {
	frame := wire.Frame(wire.Header{Kind: wire.Ask, Nonce: [8]byte{0xab}}, 32)
	packet := append([]byte{
		0x45, 0, 0, 60, 0, 1, 0x40, 0, 63, 1, 0, 0, 172, 18, 0, 11, 8, 8, 8, 8,
		8, 0, 0, 0, 0x12, 0x34, 0, 7,
	}, frame...)
	seen, ok := echo(packet)
	if !ok || seen.Src != "172.18.0.11" || seen.Dst != "8.8.8.8" || *seen.TTL != 63 || *seen.ICMPID != 0x1234 ||
		*seen.ICMPSeq != 7 || seen.Nonce != "ab00000000000000" {
		t.Fatalf("got %+v, %v", seen, ok)
	}
	packet[20] = 0 // a reply
	if _, ok := echo(packet); ok {
		t.Error("a reply was logged as a request")
	}
	packet[20], packet[7] = 8, 185 // a later fragment
	if _, ok := echo(packet); ok {
		t.Error("a later fragment was read as if it had an ICMP header")
	}
	for n := range packet {
		echo(packet[:n])
	}
}
