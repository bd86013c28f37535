package agent

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"cnilab.dev/components/responder/internal/dns"
	"cnilab.dev/components/responder/internal/sock"
	"cnilab.dev/components/responder/internal/wire"
)

// needIPv6 skips a test on a machine without it.
func needIPv6(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	_ = listener.Close()
}

func TestExchangesOverIPv6TellWhatTheOtherSideSaw(t *testing.T) {
	needIPv6(t)
	address := fmt.Sprintf("[::1]:%d", responder(t))
	got := run(t, fmt.Sprintf(`{"deadline_ms":5000,"probes":[
		{"id":"tcp","kind":"exchange","proto":"tcp","dial":%[1]q,"size":64},
		{"id":"udp","kind":"exchange","proto":"udp","dial":%[1]q,"size":1200},
		{"id":"rung","kind":"rung","dial":%[1]q,"size":1500},
		{"id":"count","kind":"burst","dial":%[1]q,"count":50,"size":64,"burst":"six","ask":true},
		{"id":"churn","kind":"churn","dial":%[1]q,"sequential":5,"parallel":5}]}`, address))
	for id, size := range map[string]int{"tcp": 64, "udp": 1200, "rung": 1500 - headers6} {
		r := got[id]
		if r.Outcome != okay || r.Local != address || r.Peer != r.Source || r.Received != size || !*r.Intact {
			t.Errorf("%s: %+v", id, r)
		}
		if !strings.HasPrefix(r.Source, "[::1]:") || r.TTL == nil || *r.TTL < 1 {
			t.Errorf("%s: from %s with hop limit %v", id, r.Source, r.TTL)
		}
	}
	if got["tcp"].MSS == nil {
		t.Error("no MSS of the SYN")
	}
	if r := got["count"]; !r.Counted || r.Received != 50 {
		t.Errorf("burst: %+v", r)
	}
	if r := got["churn"]; r.Connected != 10 {
		t.Errorf("churn: %+v", r)
	}
}

// A datagram that the loopback's own MTU refuses: 65 536 bytes there.
func TestTheMTUOfTheFirstLinkIsReportedOverIPv6(t *testing.T) {
	needIPv6(t)
	loopback, err := net.InterfaceByName("lo")
	if err != nil || loopback.MTU > 65000 {
		t.Skip("no datagram is too big for the loopback here")
	}
	got := run(t, fmt.Sprintf(`{"deadline_ms":2000,"probes":[
		{"id":"big","kind":"rung","dial":"[::1]:%d","size":%d,"expect":"msgsize"}]}`, responder(t), loopback.MTU+1))["big"]
	if got.Outcome != msgsize || got.ReportedMTU == nil || *got.ReportedMTU != loopback.MTU || got.Origin != "local" {
		t.Errorf("got %+v", got)
	}
}

func TestEchoOverBothFamilies(t *testing.T) {
	needIPv6(t)
	if os.Geteuid() != 0 {
		t.Skip("a raw socket needs root")
	}
	got := run(t, `{"deadline_ms":3000,"probes":[
		{"id":"6","kind":"exchange","proto":"icmp","dial":"::1","size":64},
		{"id":"large","kind":"exchange","proto":"icmp","dial":"::1","size":3000},
		{"id":"4","kind":"exchange","proto":"icmp","dial":"127.0.0.1","size":64}]}`)
	for id, own := range map[string]string{"6": "::1", "large": "::1", "4": "127.0.0.1"} {
		r := got[id]
		if r.Outcome != okay || r.ReplyTTL == nil || *r.ReplyTTL < 1 || r.Source != own || r.Local != own || !*r.Intact {
			t.Errorf("%s: %+v", id, r)
		}
	}
}

func quoted6(message []byte) []byte {
	b := make([]byte, 40)
	b[0], b[6], b[7] = 0x60, 58, 1
	return append(b, message...)
}

func TestEchoReplyOverIPv6HasTheHopLimitOfItsControlMessage(t *testing.T) {
	header, frame := newFrame(wire.Ask, 64)
	hops := 61
	info := sock.Info{TTL: &hops, Dst: netip.MustParseAddr("fd00::1")}
	got := readEcho6(message(echoReply6, 0x1234, 1, frame), net.ParseIP("fd00::9"), info)
	r := got.result
	if got.id != 0x1234 || got.nonce != wire.Hex(header.Nonce) || *r.ReplyTTL != 61 || r.Local != "fd00::9" ||
		r.Source != "fd00::1" {
		t.Errorf("%+v", got)
	}
	if got := readEcho6(message(echoRequest6, 1, 1, frame), net.ParseIP("fd00::9"), info); got.result.Outcome != "" {
		t.Errorf("a request is no answer: %+v", got)
	}
}

func TestICMPv6ErrorsBecomeOutcomes(t *testing.T) {
	for _, c := range []struct {
		kind, code byte
		word       uint32
		outcome    string
		mtu        int
	}{
		{1, 0, 0, unreachable, 0}, {1, 1, 0, unreachable, 0}, {1, 3, 0, unreachable, 0}, {1, 4, 0, refused, 0},
		{2, 0, 1280, msgsize, 1280}, {3, 0, 0, unreachable, 0}, {4, 1, 40, unreachable, 0},
	} {
		body := binary.BigEndian.AppendUint32([]byte{c.kind, c.code, 0, 0}, c.word)
		got := readEcho6(append(body, quoted6(message(echoRequest6, 7, 1, nil))...), net.ParseIP("fd00::9"), sock.Info{})
		r := got.result
		if got.id != 7 || r.Outcome != c.outcome || r.Reporter != "fd00::9" || *r.ICMPType != int(c.kind) ||
			*r.ICMPCode != int(c.code) {
			t.Errorf("type %d code %d: %+v", c.kind, c.code, got)
		}
		if c.mtu != 0 && (r.ReportedMTU == nil || *r.ReportedMTU != c.mtu) {
			t.Errorf("type %d code %d: no MTU in %+v", c.kind, c.code, r)
		}
	}
	for n := range 60 {
		whole := append([]byte{2, 0, 0, 0, 0, 0, 5, 0}, quoted6(message(echoRequest6, 7, 1, nil))...)
		readEcho6(whole[:min(n, len(whole))], net.ParseIP("::1"), sock.Info{})
	}
}

func TestWhatIPv6AloneSaysIsUnreachableToo(t *testing.T) {
	if got := outcomeOf(syscall.EACCES); got != unreachable {
		t.Errorf("administratively prohibited: %s", got)
	}
}

// A port that is taken in one family is free in the other.
func TestPortsAreBoundInTheFamilyOfTheAddress(t *testing.T) {
	needIPv6(t)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	got := run(t, fmt.Sprintf(`{"retries":0,"probes":[
		{"id":"taken","kind":"bind","proto":"tcp","dial":"0.0.0.0:%[1]d"},
		{"id":"free","kind":"bind","proto":"tcp","dial":"[::]:%[1]d"},
		{"id":"any","kind":"bind","proto":"tcp","dial":":%[1]d"},
		{"id":"udp","kind":"bind","proto":"udp","dial":"[::1]:%[1]d"}]}`, port))
	for id, want := range map[string]string{"taken": other, "free": okay, "any": other, "udp": okay} {
		if r := got[id]; r.Outcome != want {
			t.Errorf("%s: %+v", id, r)
		}
	}
}

func TestNameServersMayBeIPv6(t *testing.T) {
	c := parseResolvConf("nameserver fd00:10:96::a\nnameserver fe80::1%eth0\n")
	if !slices.Equal(c.servers, []string{"fd00:10:96::a", "fe80::1%eth0"}) {
		t.Errorf("got %q", c.servers)
	}
	for server, want := range map[string]string{
		"fd00:10:96::a": "[fd00:10:96::a]:53", "[fd00::a]": "[fd00::a]:53", "[fd00::a]:5353": "[fd00::a]:5353",
		"fe80::1%eth0": "[fe80::1%eth0]:53", "10.96.0.10": "10.96.0.10:53", "10.96.0.10:54": "10.96.0.10:54",
	} {
		if got := withPort(server); got != want {
			t.Errorf("%s became %s", server, got)
		}
	}
}

// An answer of 100 addresses does not fit a datagram without EDNS, and is many fragments with it.
func TestLookupsOverIPv6(t *testing.T) {
	needIPv6(t)
	const pointer = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa."
	var many []dnsmessage.Resource
	for i := range 100 {
		many = append(many, owned("many.test.", &dnsmessage.AAAAResource{AAAA: [16]byte{0xfd, 15: byte(i)}}))
	}
	server := wireServerAt(t, "::1", func(query []byte, tcp bool) [][]byte {
		q, _ := dns.Parse(query)
		answer := dnsmessage.Message{Answers: many}
		switch {
		case q.Question.Type == dnsmessage.TypePTR:
			name := dnsmessage.MustNewName("web.test.")
			answer.Answers = []dnsmessage.Resource{owned(pointer, &dnsmessage.PTRResource{PTR: name})}
		case q.Question.Type == dnsmessage.TypeA:
			answer.Answers = []dnsmessage.Resource{owned("many.test.", &dnsmessage.AResource{A: [4]byte{10, 0, 0, 1}})}
		case !tcp && q.EDNS == 0:
			answer = dnsmessage.Message{Header: dnsmessage.Header{Truncated: true}}
		}
		return [][]byte{reply(t, query, answer)}
	})
	got := run(t, fmt.Sprintf(`{"deadline_ms":3000,"probes":[
		{"id":"edns","kind":"lookup","name":"many.test.","qtype":"AAAA","transport":"udp","server":%[1]q,"edns":4096},
		{"id":"tcp","kind":"lookup","name":"many.test.","qtype":"AAAA","transport":"tcp","server":%[1]q},
		{"id":"libc","kind":"lookup","name":"many.test.","qtype":"A+AAAA","transport":"libc","server":%[1]q},
		{"id":"ptr","kind":"lookup","name":%[2]q,"qtype":"PTR","transport":"udp","server":%[1]q}]}`, server, pointer))
	for id, answers := range map[string]int{"edns": 100, "tcp": 100, "libc": 101, "ptr": 1} {
		if r := got[id]; r.Outcome != okay || r.Rcode != "NOERROR" || len(r.Answers) != answers || r.Server != server {
			t.Errorf("%s: %d answers in %+v", id, len(r.Answers), r)
		}
	}
	if r := got["libc"]; !r.Truncated || len(r.Queries) != 3 || !slices.Contains(r.Answers, "fd00::63") {
		t.Errorf("libc: %+v", r)
	}
	if answers := got["ptr"].Answers; !slices.Equal(answers, []string{"web.test."}) {
		t.Errorf("ptr: %q", answers)
	}
}
