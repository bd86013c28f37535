package agent

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"cnilab.dev/components/responder/internal/dns"
)

// wireServer answers with the bytes that a function makes of each query, over UDP and TCP on the same port.
func wireServer(t *testing.T, answer func(query []byte, tcp bool) [][]byte) string {
	t.Helper()
	return wireServerAt(t, "127.0.0.1", answer)
}

func wireServerAt(t *testing.T, host string, answer func(query []byte, tcp bool) [][]byte) string {
	t.Helper()
	udp, tcp := bothAt(t, host)
	t.Cleanup(func() { _, _ = udp.Close(), tcp.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			n, peer, err := udp.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			for _, message := range answer(b[:n], false) {
				_, _ = udp.WriteToUDPAddrPort(message, peer)
			}
		}
	}()
	go func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err == nil {
				b := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(conn, b); err == nil {
					for _, message := range answer(b, true) {
						_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...))
					}
				}
			}
			_ = conn.Close()
		}
	}()
	return udp.LocalAddr().String()
}

// tries is how often a port is looked for that is free in both protocols: what is free in one may be taken in the other.
const tries = 50

// bothAt listens to a port over UDP and TCP.
func bothAt(t *testing.T, host string) (*net.UDPConn, net.Listener) {
	t.Helper()
	var last error
	for range tries {
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)})
		if err != nil {
			t.Fatal(err)
		}
		tcp, err := net.Listen("tcp", udp.LocalAddr().String())
		if err == nil {
			return udp, tcp
		}
		last = err
		_ = udp.Close()
	}
	t.Fatal(last)
	return nil, nil
}

// reply packs a message as the answer to a query.
func reply(t *testing.T, query []byte, a dnsmessage.Message) []byte {
	t.Helper()
	q, err := dns.Parse(query)
	if err != nil {
		t.Errorf("the query %x: %v", query, err)
		return nil
	}
	a.ID, a.Response, a.Questions = q.ID, true, []dnsmessage.Question{q.Question}
	packed, err := a.Pack()
	if err != nil {
		t.Errorf("the answer %+v: %v", a, err)
	}
	return packed
}

// nameserver answers with what a function makes of each query.
func nameserver(t *testing.T, answer func(q dns.Message, tcp bool) dnsmessage.Message) string {
	t.Helper()
	return wireServer(t, func(query []byte, tcp bool) [][]byte {
		q, _ := dns.Parse(query)
		return [][]byte{reply(t, query, answer(q, tcp))}
	})
}

// owned is a record of that name.
func owned(name string, body dnsmessage.ResourceBody) dnsmessage.Resource {
	header := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: 1}
	return dnsmessage.Resource{Header: header, Body: body}
}

func nxdomain(dns.Message, bool) dnsmessage.Message {
	return dnsmessage.Message{Header: dnsmessage.Header{RCode: dnsmessage.RCodeNameError}}
}

// ask asks a server for the A record of web.test, once, over UDP or TCP.
func ask(t *testing.T, server, transport string, edns int) Result {
	t.Helper()
	return run(t, fmt.Sprintf(`{"deadline_ms":600,"probes":[{"id":"x","kind":"lookup","name":"Web.test","qtype":"A",
		"transport":%q,"server":%q,"edns":%d}]}`, transport, server, edns))["x"]
}

func TestLibcLookupRecordsEveryQuery(t *testing.T) {
	server := nameserver(t, func(q dns.Message, tcp bool) dnsmessage.Message {
		switch {
		case q.Question.Name.String() != "web.svc.":
			return nxdomain(q, tcp)
		case q.Question.Type == dnsmessage.TypeAAAA:
			return dnsmessage.Message{}
		case !tcp:
			return dnsmessage.Message{Header: dnsmessage.Header{Truncated: true}}
		}
		a := owned("web.svc.", &dnsmessage.AResource{A: [4]byte{10, 96, 0, 7}})
		return dnsmessage.Message{Answers: []dnsmessage.Resource{a}}
	})
	config := resolvConf{servers: []string{server}, search: []string{"default.svc", "svc"}, ndots: 5, timeout: time.Second,
		attempts: 2}
	r := resolve(Probe{Name: "web", Qtype: "A+AAAA"}, config, time.Now().Add(5*time.Second))
	if r.Outcome != okay || r.Rcode != "NOERROR" || !reflect.DeepEqual(r.Answers, []string{"10.96.0.7"}) || !r.Truncated {
		t.Fatalf("got %+v", r)
	}
	var story []string
	for _, q := range r.Queries {
		story = append(story, q.Name+" "+q.Qtype+" "+q.Transport+" "+q.Rcode)
	}
	want := []string{
		"web.default.svc. A udp NXDOMAIN", "web.default.svc. AAAA udp NXDOMAIN",
		"web.svc. A udp NOERROR", "web.svc. A tcp NOERROR", "web.svc. AAAA udp NOERROR",
	}
	if !reflect.DeepEqual(story, want) {
		t.Errorf("got %q", story)
	}
}

// A lookup that was cut off has no second type because nobody waited for it: it is not whole, and is tried again.
func TestALibcLookupWithoutOneOfItsTypesIsNoAnswer(t *testing.T) {
	server := wireServer(t, func(query []byte, _ bool) [][]byte {
		q, err := dns.Parse(query)
		if err != nil || q.Question.Type == dnsmessage.TypeAAAA {
			return nil
		}
		return [][]byte{reply(t, query, dnsmessage.Message{Answers: []dnsmessage.Resource{
			owned("a.b.", &dnsmessage.AResource{A: [4]byte{10, 0, 0, 1}}),
		}})}
	})
	probe := Probe{Name: "a.b.", Qtype: "A+AAAA", Transport: "libc", Server: server}
	result := lookup(probe, time.Now().Add(200*time.Millisecond))
	if result.Outcome != timeout || !reflect.DeepEqual(result.Answers, []string{"10.0.0.1"}) {
		t.Errorf("outcome %q with answers %v", result.Outcome, result.Answers)
	}
}

func TestAServerThatRefusesIsNotTheLastOneAsked(t *testing.T) {
	for _, code := range []dnsmessage.RCode{
		dnsmessage.RCodeServerFailure, dnsmessage.RCodeNotImplemented, dnsmessage.RCodeRefused,
	} {
		bad := nameserver(t, func(dns.Message, bool) dnsmessage.Message {
			return dnsmessage.Message{Header: dnsmessage.Header{RCode: code}}
		})
		good := nameserver(t, func(q dns.Message, _ bool) dnsmessage.Message {
			a := owned("web.", &dnsmessage.AResource{A: [4]byte{10, 96, 0, 7}})
			return dnsmessage.Message{Answers: []dnsmessage.Resource{a}}
		})
		config := resolvConf{servers: []string{bad, good}, ndots: 1, timeout: time.Second, attempts: 2}
		r := resolve(Probe{Name: "web.", Qtype: "A"}, config, time.Now().Add(5*time.Second))
		if r.Rcode != "NOERROR" || len(r.Queries) != 2 || r.Queries[0].Rcode != dns.RcodeName(code) {
			t.Errorf("%s: %+v", dns.RcodeName(code), r)
		}
	}
}

func TestAnAliasOnTheWayIsShownWithItsType(t *testing.T) {
	server := nameserver(t, func(dns.Message, bool) dnsmessage.Message {
		return dnsmessage.Message{Answers: []dnsmessage.Resource{
			owned("Web.test.", &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("Two.test.")}),
			owned("Two.test.", &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("three.test.")}),
			owned("three.test.", &dnsmessage.AResource{A: [4]byte{10, 0, 0, 1}}),
		}}
	})
	for _, transport := range []string{"udp", "tcp"} {
		r := ask(t, server, transport, 0)
		if !reflect.DeepEqual(r.Answers, []string{"CNAME Two.test.", "CNAME three.test.", "10.0.0.1"}) || r.Rcode != "NOERROR" {
			t.Errorf("%s: %+v", transport, r)
		}
	}
}

func TestANameWithoutTheTypeIsNoNameThatDoesNotExist(t *testing.T) {
	nodata := nameserver(t, func(dns.Message, bool) dnsmessage.Message { return dnsmessage.Message{} })
	if r := ask(t, nodata, "udp", 0); r.Outcome != okay || r.Rcode != "NOERROR" || len(r.Answers) != 0 {
		t.Errorf("no data: %+v", r)
	}
	if r := ask(t, nameserver(t, nxdomain), "udp", 0); r.Outcome != okay || r.Rcode != "NXDOMAIN" || len(r.Answers) != 0 {
		t.Errorf("no name: %+v", r)
	}
}

func TestQueriesKeepTheirCaseAndOfferTheirPayloadSize(t *testing.T) {
	var lock sync.Mutex
	var seen []string
	server := nameserver(t, func(q dns.Message, _ bool) dnsmessage.Message {
		lock.Lock()
		defer lock.Unlock()
		seen = append(seen, fmt.Sprintf("%s %t %d", q.Question.Name, q.RecursionDesired, q.EDNS))
		return dnsmessage.Message{Additionals: dns.Offer(q.EDNS)}
	})
	ask(t, server, "udp", 0)
	ask(t, server, "tcp", 1400)
	lock.Lock()
	defer lock.Unlock()
	if !reflect.DeepEqual(seen, []string{"Web.test. true 0", "Web.test. true 1400"}) {
		t.Errorf("got %q", seen)
	}
}

func TestATruncatedAnswerOfARawLookupIsLeftAtThat(t *testing.T) {
	server := nameserver(t, func(_ dns.Message, tcp bool) dnsmessage.Message {
		return dnsmessage.Message{Header: dnsmessage.Header{Truncated: !tcp}}
	})
	if r := ask(t, server, "udp", 0); !r.Truncated || len(r.Queries) != 1 {
		t.Errorf("got %+v", r)
	}
	if r := ask(t, server, "tcp", 0); r.Truncated || len(r.Queries) != 1 {
		t.Errorf("got %+v", r)
	}
}

func TestMalformedAnswersSayWhoseTheyAre(t *testing.T) {
	for what, spoil := range map[string]func([]byte) []byte{
		"a header alone":       func(b []byte) []byte { return b[:12] },
		"a few bytes":          func(b []byte) []byte { return b[:5] },
		"records that are not": func(b []byte) []byte { b[7] = 9; return b },
		"a loop":               func(b []byte) []byte { return append(b[:12], 0xc0, 12, 0, 1, 0, 1) },
	} {
		server := wireServer(t, func(query []byte, _ bool) [][]byte {
			return [][]byte{spoil(reply(t, query, dnsmessage.Message{}))}
		})
		for _, transport := range []string{"udp", "tcp"} {
			r := ask(t, server, transport, 0)
			if r.Outcome != other || r.Detail != "malformed DNS message from "+server || r.Queries[0].Rcode != other {
				t.Errorf("%s over %s: %+v", what, transport, r)
			}
		}
	}
}

func TestAnswersToOtherQueriesAreNotTakenForTheAnswer(t *testing.T) {
	server := wireServer(t, func(query []byte, _ bool) [][]byte {
		right := reply(t, query, dnsmessage.Message{Header: dnsmessage.Header{RCode: dnsmessage.RCodeNameError}})
		id, back, name := []byte(string(right)), []byte(string(query)), []byte(string(right))
		id[1] ^= 1
		name[13] = 'x' // of another name
		right[13] ^= 0x20
		return [][]byte{id, back, name, right} // names are the same in any case of their letters
	})
	for _, transport := range []string{"udp", "tcp"} {
		if r := ask(t, server, transport, 0); r.Outcome != okay || r.Rcode != "NXDOMAIN" {
			t.Errorf("%s: %+v", transport, r)
		}
	}
}

func TestAConnectionThatEndsEarlyIsShort(t *testing.T) {
	server := wireServer(t, func([]byte, bool) [][]byte { return nil })
	if r := ask(t, server, "tcp", 0); r.Outcome != short {
		t.Errorf("got %+v", r)
	}
	if r := ask(t, server, "udp", 0); r.Outcome != timeout || r.Queries[0].Rcode != timeout {
		t.Errorf("got %+v", r)
	}
}

func TestUnknownNameIsAnAnswerAndSilenceIsNot(t *testing.T) {
	server := nameserver(t, nxdomain)
	silent, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	got := run(t, fmt.Sprintf(`{"deadline_ms":400,"retries":1,"probes":[
		{"id":"nx","kind":"lookup","name":"no.test","qtype":"A","transport":"udp","server":%q},
		{"id":"silent","kind":"lookup","name":"no.test","qtype":"A","transport":"udp","server":%q},
		{"id":"label","kind":"lookup","name":"no..test","qtype":"A","transport":"udp","server":%q},
		{"id":"type","kind":"lookup","name":"no.test","qtype":"WKS","transport":"udp","server":"127.0.0.1"}]}`,
		server, silent.LocalAddr(), server))
	if r := got["nx"]; r.Outcome != okay || r.Rcode != "NXDOMAIN" || len(r.Tries) != 1 {
		t.Errorf("got %+v", r)
	}
	if r := got["silent"]; r.Outcome != timeout || len(r.Tries) != 2 || r.Queries[0].Rcode != timeout {
		t.Errorf("got %+v", r)
	}
	if r := got["label"]; r.Outcome != other || !strings.HasPrefix(r.Detail, `label "": 1 to 63 characters`) {
		t.Errorf("got %+v", r)
	}
	if r := got["type"]; r.Outcome != other {
		t.Errorf("got %+v", r)
	}
}
