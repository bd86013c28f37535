package agent

import (
	"fmt"
	"net"
	"reflect"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"cnilab.dev/components/responder/internal/dns"
)

// again asks a server for A and AAAA of web.test three times, without a further try whatever the plan says.
func again(t *testing.T, server string, apart bool) Result {
	t.Helper()
	return run(t, fmt.Sprintf(`{"deadline_ms":500,"retries":2,"probes":[{"id":"x","kind":"lookup","name":"web.test",
		"qtype":"A+AAAA","transport":"udp","server":%q,"times":3,"apart":%t}]}`, server, apart))["x"]
}

func rcodes(r Result) (found []string) {
	for _, q := range r.Queries {
		found = append(found, q.Qtype+" "+q.Rcode)
	}
	return found
}

// peerServer answers over UDP with what a function makes of each query and its sender, and then with what others add.
func peerServer(t *testing.T, answer func(query []byte, peer string) []byte, more ...func(peer string) []byte) string {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			n, peer, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if message := answer(b[:n], peer.String()); message != nil {
				_, _ = conn.WriteToUDPAddrPort(message, peer)
				for _, late := range more {
					_, _ = conn.WriteToUDPAddrPort(late(peer.String()), peer)
				}
			}
		}
	}()
	return conn.LocalAddr().String()
}

// lossy is a server that leaves out answers as a function says, told how many queries the sending socket had before.
// All sockets of a test are open at the same time, so that no two have the same port.
func lossy(t *testing.T, lost func(before int, q dns.Message) bool) string {
	t.Helper()
	var lock sync.Mutex
	seen := map[string]int{}
	return peerServer(t, func(query []byte, peer string) []byte {
		q, _ := dns.Parse(query)
		lock.Lock()
		defer lock.Unlock()
		before := seen[peer]
		seen[peer]++
		if lost(before, q) {
			return nil
		}
		var a dnsmessage.Message
		if q.Question.Type == dnsmessage.TypeA {
			a.Answers = []dnsmessage.Resource{owned("web.test.", &dnsmessage.AResource{A: [4]byte{10, 96, 0, 7}})}
		}
		return reply(t, query, a)
	})
}

func TestBothQuestionsOfASocketAreAnswered(t *testing.T) {
	server := lossy(t, func(int, dns.Message) bool { return false })
	for _, apart := range []bool{false, true} {
		r := again(t, server, apart)
		want := []string{"A NOERROR", "AAAA NOERROR", "A NOERROR", "AAAA NOERROR", "A NOERROR", "AAAA NOERROR"}
		if r.Outcome != okay || !reflect.DeepEqual(rcodes(r), want) || len(r.Tries) != 1 {
			t.Errorf("apart %t: %+v", apart, r)
		}
		if !reflect.DeepEqual(r.Queries[0].Answers, []string{"10.96.0.7"}) || len(r.Queries[1].Answers) != 0 {
			t.Errorf("apart %t: %+v", apart, r.Queries)
		}
	}
}

func TestASecondQuestionThatIsLostIsNotAskedAgain(t *testing.T) {
	server := lossy(t, func(before int, _ dns.Message) bool { return before > 0 })
	want := []string{"A NOERROR", "AAAA timeout", "A NOERROR", "AAAA timeout", "A NOERROR", "AAAA timeout"}
	if r := again(t, server, false); r.Outcome != timeout || !reflect.DeepEqual(rcodes(r), want) || len(r.Tries) != 1 {
		t.Errorf("one socket: %+v", r)
	}
	if r := again(t, server, true); r.Outcome != okay || len(r.Queries) != 6 {
		t.Errorf("a socket each: %+v", r)
	}
}

func TestAnswersOfOneSocketAreMatchedByTheirIds(t *testing.T) {
	var lock sync.Mutex
	held := map[string][]byte{}
	server := peerServer(t, func(query []byte, peer string) []byte {
		q, _ := dns.Parse(query)
		lock.Lock()
		defer lock.Unlock()
		if q.Question.Type == dnsmessage.TypeA {
			held[peer] = reply(t, query, dnsmessage.Message{Header: dnsmessage.Header{RCode: dnsmessage.RCodeNameError}})
			return nil
		}
		return reply(t, query, dnsmessage.Message{})
	}, func(peer string) []byte { // the answer to the first question comes after that to the second
		lock.Lock()
		defer lock.Unlock()
		return held[peer]
	})
	want := []string{"A NXDOMAIN", "AAAA NOERROR", "A NXDOMAIN", "AAAA NOERROR", "A NXDOMAIN", "AAAA NOERROR"}
	if r := again(t, server, false); r.Outcome != okay || !reflect.DeepEqual(rcodes(r), want) {
		t.Errorf("got %+v", r)
	}
}

func TestARepeatedQuestionOfNoTypeIsNoQuestion(t *testing.T) {
	got := run(t, `{"probes":[{"id":"x","kind":"lookup","name":"web.test","qtype":"A+WKS","transport":"udp",
		"server":"127.0.0.1","times":3}]}`)["x"]
	if got.Outcome != other || len(got.Queries) != 0 {
		t.Errorf("got %+v", got)
	}
}
