package agent

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"
)

func TestTheChecksumOfASegmentIsThatOfAKnownOne(t *testing.T) {
	// A segment as a kernel sent it, from 127.0.0.1 to 127.0.0.1; with its checksum the sum is zero.
	segment := []byte{0x1f, 0x90, 0xb0, 0x00, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0x01, 0xf6, 0, 0, 0, 0, 'x'}
	home := netip.MustParseAddr("127.0.0.1")
	sum := checksumTCP(home, home, segment)
	segment[16], segment[17] = byte(sum>>8), byte(sum)
	if again := checksumTCP(home, home, segment); again != 0 {
		t.Errorf("the sum over a segment with its checksum is %#x", again)
	}
	segment[20] = 'y'
	if again := checksumTCP(home, home, segment); again == 0 {
		t.Error("a changed byte does not change the sum")
	}
}

func TestStraySegmentsAreSentOnceIntoEachConnectionAndHarmNoneThatIsKnown(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("raw sockets need root")
	}
	for _, home := range []string{"127.0.0.1", "[::1]"} {
		address := fmt.Sprintf("%s:%d", home, responder(t))
		done, listens := make(chan Result, 1), make(chan struct{})
		server, client := &batch{lasting: true, ended: make(chan struct{})}, &batch{ended: make(chan struct{})}
		go func() {
			done <- server.stray(Probe{Dial: address}, time.Now().Add(20*time.Second), func() { close(listens) })
		}()
		<-listens
		close(client.ended)
		held := client.hold(Probe{Dial: address, ForMs: 500, Size: 64}, time.Now().Add(8*time.Second), func() {})
		close(server.ended)
		if held.Before != okay || held.Outcome != okay {
			t.Errorf("%s: held: %+v", home, held)
		}
		got := <-done
		text, _ := json.Marshal(got)
		if got.Outcome != okay || len(got.Flows) != 1 {
			t.Fatalf("%s: %s", home, text)
		}
		if flow := got.Flows[0]; flow.Peer != held.Source || flow.Peer != held.Peer || flow.Sent != len(astray) || flow.Resets != 0 {
			t.Errorf("%s: %s, from %s", home, text, held.Source)
		}
	}
}

func TestStraysNeedAnAddressOfOurOwn(t *testing.T) {
	for _, dial := range []string{"nowhere", "192.0.2.1:80"} {
		b := &batch{ended: make(chan struct{})}
		got := b.stray(Probe{Dial: dial, ForMs: 10}, time.Now().Add(time.Second), func() { t.Error("begun") })
		if got.Outcome == okay {
			t.Errorf("%s: %+v", dial, got)
		}
	}
}
