package world

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"cnilab.dev/components/responder/internal/dns"
	"cnilab.dev/components/responder/internal/wire"
)

func outside(t *testing.T) Zone {
	t.Helper()
	zone, err := NewZone("outside.test", "8.8.8.8", "2001:4860:4860::8888")
	if err != nil {
		t.Fatal(err)
	}
	zone.has6 = func(netip.Addr) bool { return false }
	return zone
}

func TestZone(t *testing.T) {
	zone := outside(t)
	for _, c := range []struct {
		name    string
		kind    dnsmessage.Type
		rcode   dnsmessage.RCode
		answers int
		aa      bool
	}{
		{"www.outside.test.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, 1, true},
		{"WWW.Outside.TEST.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, 1, true},
		{"x7f3.probe.outside.test.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, 1, true},
		// no such type: not NXDOMAIN (RFC 2308 §2.2)
		{"www.outside.test.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, 0, true},
		// an empty non-terminal exists (RFC 8020)
		{"probe.outside.test.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, 0, true},
		{"outside.test.", dnsmessage.TypeSOA, dnsmessage.RCodeSuccess, 1, true},
		{"outside.test.", dnsmessage.TypeNS, dnsmessage.RCodeSuccess, 1, true},
		{"a.b.probe.outside.test.", dnsmessage.TypeA, dnsmessage.RCodeNameError, 0, true},
		{"nothing.outside.test.", dnsmessage.TypeA, dnsmessage.RCodeNameError, 0, true},
		// reverse zones are outside of it, in both families
		{"8.8.8.8.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeNameError, 0, false},
		{"1.d.f.ip6.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeNameError, 0, false},
		{"notoutside.test.", dnsmessage.TypeA, dnsmessage.RCodeNameError, 0, false},
		{".", dnsmessage.TypeNS, dnsmessage.RCodeSuccess, 0, false},
	} {
		question := dnsmessage.Question{Name: dnsmessage.MustNewName(c.name), Type: c.kind}
		a := zone.Answer(dns.Message{Header: dnsmessage.Header{ID: 3, RecursionDesired: true}, Question: question})
		if a.ID != 3 || a.RCode != c.rcode || len(a.Answers) != c.answers || a.Authoritative != c.aa {
			t.Errorf("%s: %+v", c.name, a)
		}
		if len(a.Answers) != 0 {
			continue
		}
		if len(a.Authorities) != 1 {
			t.Errorf("%s: a negative answer needs the SOA to be cached (RFC 2308 §3): %+v", c.name, a.Authorities)
		} else if _, ok := a.Authorities[0].Body.(*dnsmessage.SOAResource); !ok {
			t.Errorf("%s: %+v", c.name, a.Authorities)
		}
	}
}

// What has an A record has an AAAA record too, while the machine has the address.
func TestAWorldWithIPv6HasAAAARecords(t *testing.T) {
	zone := outside(t)
	zone.has6 = func(address netip.Addr) bool { return address.String() == "2001:4860:4860::8888" }
	for name, answers := range map[string]int{
		"www.outside.test.": 1, "ns.outside.test.": 1, "x.probe.outside.test.": 1, "outside.test.": 0, "nx.outside.test.": 0,
	} {
		question := dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeAAAA}
		packed, err := dns.Pack(zone.Answer(dns.Message{Question: question}))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := dns.Parse(packed)
		if err != nil || len(answer.Answers) != answers {
			t.Fatalf("%s: %+v, %v", name, answer, err)
		}
		if answers == 1 && answer.Answers[0].Data != "2001:4860:4860::8888" {
			t.Errorf("%s: %+v", name, answer.Answers)
		}
	}
}

func TestAddressesOfThisMachine(t *testing.T) {
	if !onThisMachine(netip.MustParseAddr("127.0.0.1")) || onThisMachine(netip.MustParseAddr("2001:db8::dead")) {
		t.Error("the loopback's own address is not seen, or one that nobody has")
	}
}

func TestZonesNeedANameAndAnAddressOfEachFamily(t *testing.T) {
	const four, six = "8.8.8.8", "2001:db8::1"
	for _, c := range [][3]string{
		{"outside.test", six, six}, {"outside.test", "x", six}, {"outside..test", four, six}, {"outside.test", four, four},
		{"outside.test", four, "::ffff:8.8.8.8"},
	} {
		if _, err := NewZone(c[0], c[1], c[2]); err == nil {
			t.Errorf("%q is a zone", c)
		}
	}
}

// Names are whole and in the case of the query; an answer has an OPT record if the query has.
func TestAnswersOnTheWire(t *testing.T) {
	const (
		www = "03777777" + "076f757473696465" + "0454455354" + "00"
		nx  = "026e78" + "076f757473696465" + "0474657374" + "00"
		soa = "076f757473696465" + "0474657374" + "00" + "0006" + "0001" + "00000005" + "003e" +
			"026e73076f757473696465047465737400" + "0a686f73746d6173746572076f757473696465047465737400" +
			"00000001" + "00000e10" + "00000258" + "00015180" + "00000005"
		opt = "00" + "0029" + "04d0" + "00000000" + "0000"
	)
	for _, c := range []struct {
		name, want string
		edns       uint16
	}{
		{"www.outside.TEST.", "0007" + "8580" + "0001000100000000" + www + "00010001" +
			www + "00010001" + "00000005" + "0004" + "08080808", 0},
		{"www.outside.TEST.", "0007" + "8580" + "0001000100000001" + www + "00010001" +
			www + "00010001" + "00000005" + "0004" + "08080808" + opt, 4096},
		{"nx.outside.test.", "0007" + "8583" + "0001000000010001" + nx + "00010001" + soa + opt, 512},
	} {
		query, err := dns.Query(7, c.name, dnsmessage.TypeA, c.edns)
		if err != nil {
			t.Fatal(err)
		}
		journal, err := Open(filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		got := hex.EncodeToString(reply(query, outside(t), journal, netip.AddrPort{}, netip.AddrPort{}, nil))
		if got != c.want {
			t.Errorf("%s with EDNS %d:\ngot  %s\nwant %s", c.name, c.edns, got, c.want)
		}
	}
}

func TestEveryQueryIsLoggedWithItsSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	journal, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	query, err := dns.Query(9, "www.outside.test.", dnsmessage.TypeA, 0)
	if err != nil {
		t.Fatal(err)
	}
	peer, local := netip.MustParseAddrPort("172.18.0.11:5353"), netip.MustParseAddrPort("8.8.8.8:53")
	zone := outside(t)
	var wait sync.WaitGroup
	for range 50 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			reply(query, zone, journal, peer, local, nil)
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
	response, err := dns.Query(1, "a.", dnsmessage.TypeA, 0)
	if err != nil {
		t.Fatal(err)
	}
	response[2] |= 0x80
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

func TestEchoRequestOverIPv6IsSeen(t *testing.T) {
	frame := wire.Frame(wire.Header{Kind: wire.Ask, Nonce: [8]byte{0xab}}, 32)
	packet := make([]byte, 40)
	packet[0], packet[6], packet[7] = 0x60, 44, 63 // a fragment header follows
	packet[8], packet[23], packet[24], packet[39] = 0xfd, 0x11, 0xfd, 0x88
	packet = append(packet, 58, 0, 0, 1, 0, 0, 0, 9, 128, 0, 0, 0, 0x12, 0x34, 0, 7)
	packet = append(packet, frame...)
	seen, ok := echo6(packet)
	if !ok || seen.Proto != "icmp6" || seen.Src != "fd00::11" || seen.Dst != "fd00::88" || *seen.TTL != 63 ||
		*seen.ICMPID != 0x1234 || *seen.ICMPSeq != 7 || seen.Nonce != "ab00000000000000" {
		t.Fatalf("got %+v, %v", seen, ok)
	}
	packet[48] = 129
	if _, ok := echo6(packet); ok {
		t.Error("a reply was logged as a request")
	}
	packet[48], packet[42] = 128, 5
	if _, ok := echo6(packet); ok {
		t.Error("a later fragment was read as if it had an ICMP header")
	}
	for n := range packet {
		echo6(packet[:n])
	}
}
