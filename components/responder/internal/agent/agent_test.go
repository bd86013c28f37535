package agent

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"cnilab.dev/components/responder/internal/serve"
	"cnilab.dev/components/responder/internal/wire"
)

// responder starts one on a free port of the loopback.
func responder(t *testing.T) (port int) {
	t.Helper()
	all := 2 // sockets: of each protocol, in each family that the machine has
	if six, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		all = 4
		_ = six.Close()
	}
	for range tries {
		listener, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		port = listener.Addr().(*net.TCPAddr).Port
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		if serve.New("token", nil).Open(uint16(port)) == all {
			return port
		}
	}
	t.Fatal("the responder did not open TCP and UDP")
	return 0
}

// run runs a plan and gives its lines by id.
func run(t *testing.T, plan string) map[string]Result {
	t.Helper()
	var out bytes.Buffer
	if err := Run(strings.NewReader(plan), &out); err != nil {
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

func TestExchangesTellWhatTheOtherSideSaw(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", responder(t))
	got := run(t, fmt.Sprintf(`{"deadline_ms":5000,"probes":[
		{"id":"tcp","kind":"exchange","proto":"tcp","dial":%[1]q,"size":64},
		{"id":"udp","kind":"exchange","proto":"udp","dial":%[1]q,"size":1200},
		{"id":"upload","kind":"exchange","proto":"tcp","dial":%[1]q,"size":1048576},
		{"id":"connect","kind":"exchange","proto":"tcp","dial":%[1]q,"connect":true},
		{"id":"rung","kind":"rung","dial":%[1]q,"size":1500}]}`, address))
	for id, size := range map[string]int{"tcp": 64, "udp": 1200, "upload": 1048576, "rung": 1472} {
		r := got[id]
		if r.Outcome != okay || r.Token != "token" || r.Local != address || r.Peer != r.Source || r.Received != size ||
			r.Intact == nil || !*r.Intact || r.Nonce == "" || len(r.Tries) != 1 {
			t.Errorf("%s: %+v", id, r)
		}
		if r.TTL == nil || *r.TTL < 1 {
			t.Errorf("%s: no TTL", id)
		}
	}
	if got["tcp"].MSS == nil {
		t.Error("no MSS of the SYN")
	}
	if got["upload"].StallMs == nil {
		t.Error("no stall time of the upload")
	}
	if got["connect"].Outcome != okay || got["connect"].Token != "" {
		t.Errorf("connect: %+v", got["connect"])
	}
}

func TestExpectedRefusalIsNotTriedAgain(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	got := run(t, fmt.Sprintf(`{"deadline_ms":3000,"retries":2,"probes":[
		{"id":"expected","kind":"exchange","proto":"tcp","dial":%[1]q,"expect":"refused"},
		{"id":"udp","kind":"exchange","proto":"udp","dial":%[1]q,"expect":"refused"},
		{"id":"surprise","kind":"exchange","proto":"tcp","dial":%[1]q}]}`, closed))
	for id, tries := range map[string]int{"expected": 1, "udp": 1, "surprise": 3} {
		r := got[id]
		if r.Outcome != refused || r.Errno != int(syscall.ECONNREFUSED) || len(r.Tries) != tries {
			t.Errorf("%s: %+v", id, r)
		}
	}
}

func TestSilentPeersCostTheDeadlineOnce(t *testing.T) {
	silent, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var probes []string
	for i := range 20 {
		probes = append(probes, fmt.Sprintf(`{"id":"%d","kind":"exchange","proto":"udp","dial":%q}`, i, silent.LocalAddr()))
	}
	begin := time.Now()
	got := run(t, `{"deadline_ms":300,"retries":2,"probes":[`+strings.Join(probes, ",")+`]}`)
	if took := time.Since(begin); took < 250*time.Millisecond || took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	for id, r := range got {
		if r.Outcome != timeout || r.Errno != int(syscall.ETIMEDOUT) || len(r.Tries) != 3 {
			t.Errorf("%s: %+v", id, r)
		}
	}
}

func TestAnUploadThatStopsTellsForHowLong(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept() // and never read: the path lets no large segment through
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	got := run(t, fmt.Sprintf(`{"deadline_ms":1500,"probes":[
		{"id":"up","kind":"exchange","proto":"tcp","dial":%q,"size":16777216}]}`, listener.Addr()))["up"]
	if got.Outcome != timeout || got.StallMs == nil || *got.StallMs < 300 {
		t.Errorf("got %+v", got)
	}
}

func TestTakenPortCannotBeBound(t *testing.T) {
	port := responder(t)
	got := run(t, fmt.Sprintf(`{"probes":[
		{"id":"tcp","kind":"bind","proto":"tcp","dial":":%[1]d","expect":"error"},
		{"id":"udp","kind":"bind","proto":"udp","dial":":%[1]d","expect":"error"},
		{"id":"free","kind":"bind","proto":"tcp","dial":"127.0.0.1:0"}]}`, port))
	if got["tcp"].Errno != int(syscall.EADDRINUSE) || got["udp"].Errno != int(syscall.EADDRINUSE) {
		t.Errorf("got %+v", got)
	}
	if got["free"].Outcome != okay {
		t.Errorf("got %+v", got["free"])
	}
}

func TestBurstIsCountedAtTheReceiver(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", responder(t))
	got := run(t, fmt.Sprintf(`{"deadline_ms":5000,"probes":[
		{"id":"asks","kind":"burst","dial":%[1]q,"count":50,"size":64,"burst":"x","ask":true},
		{"id":"silent","kind":"burst","dial":%[1]q,"count":50,"size":64,"burst":"y"},
		{"id":"count","kind":"collect","dial":%[1]q,"count":50,"burst":"y"},
		{"id":"churn","kind":"churn","dial":%[1]q,"sequential":20,"parallel":10}]}`, address))
	for _, id := range []string{"asks", "count"} {
		if r := got[id]; !r.Counted || r.Received != 50 || r.Duplicates != 0 {
			t.Errorf("%s: %+v", id, r)
		}
	}
	if r := got["silent"]; r.Sent != 50 || r.Counted {
		t.Errorf("silent: %+v", r)
	}
	if r := got["churn"]; r.Outcome != okay || r.Connected != 30 || len(r.Errors) != 0 || r.P99Us < r.P50Us {
		t.Errorf("churn: %+v", r)
	}
}

func TestLostDatagramsAreMissedOnce(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", responder(t))
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, number := range []uint32{0, 1, 1, 3} { // 2 is lost, 1 came twice
		header := wire.Header{Kind: wire.Burst, Nonce: wire.BurstKey("z"), Number: number}
		if _, err := conn.Write(wire.Frame(header, 64)); err != nil {
			t.Fatal(err)
		}
	}
	got := run(t, fmt.Sprintf(`{"deadline_ms":900,"probes":[
		{"id":"count","kind":"collect","dial":%q,"count":4,"burst":"z"}]}`, address))["count"]
	if !got.Counted || got.Received != 3 || got.Duplicates != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestPlansAreChecked(t *testing.T) {
	for _, plan := range []string{"", "[]", `{"probes":[{"id":"1"},{"id":"1"}]}`} {
		if err := Run(strings.NewReader(plan), &bytes.Buffer{}); err == nil {
			t.Errorf("%q was run", plan)
		}
	}
	got := run(t, `{"probes":[{"id":"x","kind":"exchange","proto":"sctp"}]}`)["x"]
	if got.Outcome != other || got.Detail == "" {
		t.Errorf("got %+v", got)
	}
}

func TestChecksumOfRFC1071(t *testing.T) {
	message := echoMessage(0x1234, 1, []byte("odd"))
	if checksum(message) != 0 {
		t.Errorf("the sum over a message with its checksum is %#x, not 0", checksum(message))
	}
}

func packet(kind, code byte, rest []byte) []byte {
	return append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 62, 1, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1, kind, code, 0, 0}, rest...)
}

func TestEchoReplyIsMatchedByIDAndNonce(t *testing.T) {
	header, frame := newFrame(wire.Ask, 64)
	got := readEcho(packet(echoReply, 0, append([]byte{0x12, 0x34, 0, 1}, frame...)))
	r, payload := got.result, got.payload
	if got.id != 0x1234 || got.nonce != wire.Hex(header.Nonce) || r.Outcome != okay || *r.ReplyTTL != 62 {
		t.Errorf("%+v", got)
	}
	if got := r.compare(payload, frame); got.Outcome != okay || got.Received != 64 || !*got.Intact {
		t.Errorf("got %+v", got)
	}
	if got := r.compare(payload[:60], frame); got.Outcome != short {
		t.Errorf("4 bytes are missing: %+v", got)
	}
	payload[40] ^= 1
	if got := r.compare(payload, wire.Frame(header, 64)); got.Outcome != corrupt || *got.Intact {
		t.Errorf("a bit was turned: %+v", got)
	}
}

func TestICMPErrorsBecomeOutcomes(t *testing.T) {
	quoted := echoMessage(7, 1, nil)
	inner := append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}, quoted...)
	for _, c := range []struct {
		kind, code byte
		word       uint32
		outcome    string
		mtu        int
	}{
		{3, 4, 1300, msgsize, 1300}, {3, 1, 0, unreachable, 0}, {3, 3, 0, refused, 0}, {11, 0, 0, unreachable, 0},
		{12, 0, 0, unreachable, 0},
	} {
		rest := binary.BigEndian.AppendUint32(nil, c.word)
		got := readEcho(packet(c.kind, c.code, append(rest, inner...)))
		r := got.result
		if got.id != 7 || r.Outcome != c.outcome || r.Reporter != "10.0.0.9" || r.Detail == "" {
			t.Errorf("type %d code %d: %+v", c.kind, c.code, got)
		}
		if c.mtu != 0 && (r.ReportedMTU == nil || *r.ReportedMTU != c.mtu) {
			t.Errorf("type %d code %d: no MTU in %+v", c.kind, c.code, r)
		}
	}
}

func TestSearchListDependsOnNdots(t *testing.T) {
	c := parseResolvConf("nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\n" +
		"options ndots:5 timeout:1 edns0\n# nameserver 1.1.1.1\n")
	if !reflect.DeepEqual(c.servers, []string{"10.96.0.10"}) || c.ndots != 5 || c.timeout != time.Second {
		t.Fatalf("got %+v", c)
	}
	searched := []string{
		"www.outside.test.default.svc.cluster.local.", "www.outside.test.svc.cluster.local.",
		"www.outside.test.cluster.local.", "www.outside.test.",
	}
	if got := c.candidates("www.outside.test"); !reflect.DeepEqual(got, searched) {
		t.Errorf("got %q", got)
	}
	if got := c.candidates("www.outside.test."); !reflect.DeepEqual(got, searched[3:]) {
		t.Errorf("a trailing dot must end the search: %q", got)
	}
	c.ndots = 2
	if got := c.candidates("www.outside.test"); got[0] != "www.outside.test." || len(got) != 4 {
		t.Errorf("enough dots: the name itself comes first: %q", got)
	}
}

func TestPercentileIsNearestRank(t *testing.T) {
	values := []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	if percentile(values, 50) != 5 || percentile(values, 99) != 10 || percentile(nil, 50) != 0 {
		t.Errorf("got %d, %d", percentile(values, 50), percentile(values, 99))
	}
}

func TestConnectionsForWhichThereIsNoTimeHaveNotFailed(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", responder(t))
	late := time.Now().Add(-time.Second)
	if r := churn(Probe{Dial: address, Sequential: 20, Parallel: 10}, late); r.Outcome != okay || r.Connected != 10 || r.Untried != 20 {
		t.Errorf("no time: %+v", r)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	_ = listener.Close()
	r := churn(Probe{Dial: closed, Sequential: 3, Parallel: 2}, time.Now().Add(5*time.Second))
	if r.Outcome != refused || r.Errors["111"] != 5 || r.Untried != 0 {
		t.Errorf("refused: %+v", r)
	}
}
