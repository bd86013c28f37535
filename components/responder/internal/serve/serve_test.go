package serve

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cnilab.dev/components/responder/internal/sock"
	"cnilab.dev/components/responder/internal/wire"
)

// ask writes to a responder's TCP side and returns all that it answers until it closes, or one line.
func ask(t *testing.T, request string, oneLine bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	server := New("me", nil)
	go AcceptAll(listener, server.serveTCP)
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if oneLine {
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func TestPagesOverHTTP(t *testing.T) {
	for path, want := range map[string]string{
		"/hostname": "me\n", "/healthz": "ok\n", "/clientip": "127.0.0.1:", "/": `"token":"me"`, "/whoami": "Hostname: me\n",
		"/burst?id=00": `"received":0`, "/nothing": "404 Not Found",
	} {
		got := ask(t, "GET "+path+" HTTP/1.1\r\nHost: x\r\nUser-Agent: test\r\n\r\n", false)
		if !strings.HasPrefix(got, "HTTP/1.1 ") || !strings.Contains(got, want) {
			t.Errorf("%s: %q", path, got)
		}
	}
	if got := ask(t, "HEAD / HTTP/1.1\r\n\r\n", false); !strings.HasSuffix(got, "\r\n\r\n") {
		t.Errorf("HEAD has a body: %q", got)
	}
}

func TestFramesFollowEachOtherOnOneConnection(t *testing.T) {
	one := wire.Frame(wire.Header{Kind: wire.Ask, Nonce: [8]byte{1}, Number: 100}, 100)
	two := wire.Frame(wire.Header{Kind: wire.Ask, Nonce: [8]byte{2}, Number: 300000}, 300000)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go AcceptAll(listener, New("me", nil).serveTCP)
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(bytes.Join([][]byte{one, two}, nil)); err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(conn)
	for i, size := range []int{100, 300000} {
		var answer wire.Answer
		if err := decoder.Decode(&answer); err != nil {
			t.Fatal(err)
		}
		if answer.Len != size || answer.Nonce != fmt.Sprintf("%02d00000000000000", i+1) {
			t.Errorf("got %+v", answer)
		}
	}
}

func TestPlainLineIsAnswered(t *testing.T) {
	var answer wire.Answer
	if err := json.Unmarshal([]byte(ask(t, "hello\n", true)), &answer); err != nil || answer.Len != 6 || answer.Token != "me" {
		t.Errorf("got %+v, %v", answer, err)
	}
}

func TestOversizedFramesAreRefused(t *testing.T) {
	header := string(wire.Frame(wire.Header{Kind: wire.Ask, Number: wire.MaxFrame + 1}, wire.HeaderLen))
	if got := ask(t, header, false); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestOldBurstsAreForgottenFirst(t *testing.T) {
	var c counters
	for i := range maxBursts + 1 {
		c.add(wire.Header{Nonce: wire.BurstKey(fmt.Sprint(i))})
	}
	oldest, newest := wire.Hex(wire.BurstKey("0")), wire.Hex(wire.BurstKey(fmt.Sprint(maxBursts)))
	if c.get(oldest).Received != 0 || c.get(newest).Received != 1 || len(c.bursts) != maxBursts {
		t.Errorf("%d bursts kept", len(c.bursts))
	}
}

func TestPorts(t *testing.T) {
	got, err := ParsePorts("8080, 22,,65535")
	if err != nil || fmt.Sprint(got) != "[8080 22 65535]" {
		t.Errorf("got %v, %v", got, err)
	}
	for _, list := range []string{"0", "65536", "http", "-1"} {
		if _, err := ParsePorts(list); err == nil {
			t.Errorf("%q was taken", list)
		}
	}
}

// A client has the address of its own family: never ::ffff:127.0.0.1.
func TestBothFamiliesAreServed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	var seen []wire.Answer
	var mu sync.Mutex
	server := New("me", func(answer wire.Answer) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, answer)
	})
	opened := server.Open(uint16(port))
	hosts := []string{"127.0.0.1"}
	if probe, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = probe.Close()
		hosts = append(hosts, "::1")
	}
	if opened < 2*len(hosts) {
		t.Fatalf("%d sockets for %v", opened, hosts)
	}
	for _, host := range hosts {
		for _, transport := range []string{"tcp", "udp"} {
			conn, err := net.Dial(transport, net.JoinHostPort(host, strconv.Itoa(port)))
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(wire.Frame(wire.Header{Kind: wire.Ask, Number: 64}, 64)); err != nil {
				t.Fatal(err)
			}
			var answer wire.Answer
			if err := json.NewDecoder(conn).Decode(&answer); err != nil {
				t.Fatal(err)
			}
			if answer.Peer != conn.LocalAddr().String() || answer.Local != conn.RemoteAddr().String() || answer.TTL == nil {
				t.Errorf("%s over %s: %+v", host, transport, answer)
			}
			_ = conn.Close()
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 2*len(hosts) {
		t.Errorf("seen: %+v", seen)
	}
}

func TestAPortThatIsTakenIsSkipped(t *testing.T) {
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	conns, err := sock.ListenUDP(uint16(port))
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range conns {
		defer conn.Close()
	}
	if opened := New("me", nil).Open(uint16(port)); opened != 0 {
		t.Errorf("%d sockets on a port that is taken", opened)
	}
}

func TestACountTellsTheLongestRowOfMissingNumbers(t *testing.T) {
	for _, c := range []struct {
		seen      []uint32
		gap, last int
	}{
		{nil, 0, 0},
		{[]uint32{0}, 0, 0},
		{[]uint32{3, 4}, 3, 4},
		{[]uint32{0, 1, 9, 4, 10}, 4, 10},
	} {
		counted := tally{seen: map[uint32]bool{}}
		for _, number := range c.seen {
			counted.seen[number] = true
		}
		if gap, last := counted.gap(); gap != c.gap || last != c.last {
			t.Errorf("%v: gap %d, last %d", c.seen, gap, last)
		}
	}
}
