package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// lasts runs a plan until the given function returns, and gives its lines by id.
func lasts(t *testing.T, plan string, meanwhile func()) map[string]Result {
	t.Helper()
	in, feed := io.Pipe()
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- Run(in, &out) }()
	if _, err := io.WriteString(feed, plan); err != nil {
		t.Fatal(err)
	}
	meanwhile()
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	results := map[string]Result{}
	for decoder := json.NewDecoder(&out); decoder.More(); {
		var result Result
		if err := decoder.Decode(&result); err != nil {
			t.Fatal(err)
		}
		results[result.ID] = result
	}
	return results
}

func TestStreamsAndConnectionsLastUntilTheInputEnds(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", responder(t))
	begin := time.Now()
	got := lasts(t, fmt.Sprintf(`{"deadline_ms":30000,"lasting":true,"probes":[
		{"id":"send","kind":"stream","dial":%[1]q,"size":64,"pace_us":5000,"burst":"s"},
		{"id":"count","kind":"collect","dial":%[1]q,"burst":"s","count":1000000},
		{"id":"held","kind":"hold","dial":%[1]q,"size":64}]}`, address), func() { time.Sleep(300 * time.Millisecond) })
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	send, count, held := got["send"], got["count"], got["held"]
	if send.Outcome != okay || send.Sent < 10 || send.PauseMs <= 0 {
		t.Errorf("send: %+v", send)
	}
	if !count.Counted || count.Received != send.Sent || count.Last != send.Sent-1 || count.Gap != 0 {
		t.Errorf("count: %+v of %d", count, send.Sent)
	}
	if held.Outcome != okay || held.Before != okay || held.Token != "token" || held.Ms < 250 {
		t.Errorf("held: %+v", held)
	}
}

func TestAHeldConnectionThatIsCutTellsThatItWorkedBefore(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	inner := fmt.Sprintf("127.0.0.1:%d", responder(t))
	conns := make(chan net.Conn, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		through, err := net.Dial("tcp", inner)
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(through, conn) }()
		go func() { _, _ = io.Copy(conn, through) }()
		conns <- conn
	}()
	got := lasts(t, fmt.Sprintf(`{"deadline_ms":20000,"lasting":true,"probes":[
		{"id":"held","kind":"hold","dial":%q,"size":64}]}`, listener.Addr()), func() {
		time.Sleep(200 * time.Millisecond)
		_ = (<-conns).Close()
	})["held"]
	if got.Before != okay || got.Outcome == okay {
		t.Errorf("got %+v", got)
	}
}

func TestASpeedIsThatOfWhatTheReceiverHas(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", responder(t))
	got := run(t, fmt.Sprintf(`{"deadline_ms":20000,"probes":[
		{"id":"flow","kind":"flow","dial":%[1]q,"for_ms":100},
		{"id":"rounds","kind":"rounds","dial":%[1]q,"size":64,"count":50}]}`, address))
	if flow := got["flow"]; flow.Outcome != okay || flow.Token != "token" || flow.Received < load || flow.Received != flow.Sent {
		t.Errorf("flow: %+v", flow)
	}
	if r := got["rounds"]; r.Outcome != okay || r.Connected != 50 || r.P50Us <= 0 || r.P99Us < r.P50Us {
		t.Errorf("rounds: %+v", r)
	}
}

func TestAPlanThatLastsTellsWhenAllOfItHasBegun(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", responder(t))
	in, feed := io.Pipe()
	lines, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- Run(in, out); out.Close() }()
	// The last probe cannot begin at all: it has ended, and nobody waits for it.
	if _, err := fmt.Fprintf(feed, `{"deadline_ms":30000,"lasting":true,"probes":[
		{"id":"send","kind":"stream","dial":%[1]q,"size":64,"pace_us":5000,"burst":"begun"},
		{"id":"count","kind":"collect","dial":%[1]q,"burst":"begun","count":1000000},
		{"id":"held","kind":"hold","dial":%[1]q,"size":64},
		{"id":"lost","kind":"stray","dial":"nowhere"}]}`, address); err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(lines)
	var ids []string
	for decoder.More() {
		var result Result
		if err := decoder.Decode(&result); err != nil {
			t.Fatal(err)
		}
		if ids = append(ids, result.ID); result.ID == begunID {
			feed.Close() // nothing else would end it before its deadline
		}
	}
	if want := []string{begunID, "send", "count", "held", "lost"}; !slices.Equal(ids, want) {
		t.Errorf("%v, not %v", ids, want)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWhatLastsEndsAtAWordToo(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", responder(t))
	in, feed := io.Pipe()
	defer feed.Close() // after all is over
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- Run(in, &out) }()
	plan := `{"deadline_ms":60000,"lasting":true,"probes":[{"id":"held","kind":"hold","dial":%q,"size":64}]}`
	if _, err := fmt.Fprintf(feed, plan+"\nend\n", address); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it goes on")
	}
}
