package sock

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
)

func fromHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSynHasTTLAndMSS(t *testing.T) {
	ip := "4500003c1c4640003e06b1e60af401020af40202" // TTL 62
	tcp := "d6121f90aaaaaaaa00000000a002fd5c00000000"
	options := "0204058201030307" + "0402080a0000000000000000"[:24]
	ttl, mss := ParseSyn(fromHex(t, ip+tcp+options))
	if ttl == nil || *ttl != 62 || mss == nil || *mss != 1410 {
		t.Fatalf("ttl %v, mss %v", ttl, mss)
	}
}

func TestSynWithoutOptionsHasNoMSS(t *testing.T) {
	ttl, mss := ParseSyn(fromHex(t, "4500002800004000400600000a0000010a000002"+"0001000200000000000000005002ffff00000000"))
	if ttl == nil || *ttl != 64 || mss != nil {
		t.Fatalf("ttl %v, mss %v", ttl, mss)
	}
}

func TestSynOverIPv6HasHopLimitAndMSS(t *testing.T) {
	ip := "600000000028003d" // hop limit 61
	addresses := "fd000000000000000000000000000001" + "fd000000000000000000000000000002"
	tcp := "d6121f90aaaaaaaa00000000a002fd5c00000000" + "020405a00103030700000000" + "00000000" + "00000000"
	for next, extensions := range map[string]string{"06": "", "3c": "0600010400000000"} { // destination options
		ttl, mss := ParseSyn(fromHex(t, ip[:12]+next+ip[14:]+addresses+extensions+tcp))
		if ttl == nil || *ttl != 61 || mss == nil || *mss != 1440 {
			t.Errorf("next header %s: ttl %v, mss %v", next, ttl, mss)
		}
	}
}

func TestPacketTooBigNamesTheMTUAndTheRouter(t *testing.T) {
	b := make([]byte, 16+28)
	binary.NativeEndian.PutUint32(b, uint32(syscall.EMSGSIZE))
	b[4], b[5] = originICMP6, 2
	binary.NativeEndian.PutUint32(b[8:], 1300)
	binary.NativeEndian.PutUint16(b[16:], syscall.AF_INET6)
	router := netip.MustParseAddr("fd00:172:18::1")
	address := router.As16()
	copy(b[24:], address[:])
	e, ok := ParseQueuedError(b)
	if want := (QueuedError{syscall.EMSGSIZE, "icmp", 2, 0, 1300, router}); !ok || e != want {
		t.Fatalf("got %+v, %v", e, ok)
	}
}

func TestMalformedSynsDoNotPanic(t *testing.T) {
	whole := fromHex(t, "4500003c1c4640003e06b1e60af401020af40202"+"d6121f90aaaaaaaa00000000f002fd5c00000000"+"020405")
	for n := range whole {
		ParseSyn(whole[:n])
	}
	whole[40] = 5 // an option whose length byte is missing
	ParseSyn(whole)
	ParseSyn(append(whole[:40:40], 8, 0, 8, 0)) // length 0 must not loop
}

func TestFragNeededNamesTheMTUAndTheRouter(t *testing.T) {
	b := make([]byte, 32)
	binary.NativeEndian.PutUint32(b, uint32(syscall.EMSGSIZE))
	b[4], b[5], b[6] = originICMP, 3, 4
	binary.NativeEndian.PutUint32(b[8:], 1300)
	binary.NativeEndian.PutUint16(b[16:], syscall.AF_INET)
	copy(b[20:], []byte{172, 18, 0, 1})
	e, ok := ParseQueuedError(b)
	want := QueuedError{syscall.EMSGSIZE, "icmp", 3, 4, 1300, netip.MustParseAddr("172.18.0.1")}
	if !ok || e != want {
		t.Fatalf("got %+v, %v", e, ok)
	}
}

func TestLocalErrorHasNoReporter(t *testing.T) {
	b := make([]byte, 32)
	binary.NativeEndian.PutUint32(b, uint32(syscall.EMSGSIZE))
	b[4] = originLocal
	binary.NativeEndian.PutUint32(b[8:], 1450)
	e, ok := ParseQueuedError(b)
	if !ok || e.Origin != "local" || e.MTU != 1450 || e.Reporter.IsValid() {
		t.Fatalf("got %+v, %v", e, ok)
	}
	if _, ok := ParseQueuedError(b[:15]); ok {
		t.Error("15 bytes are no error")
	}
}

func TestAnswerComesFromTheAddressThatWasAsked(t *testing.T) {
	server, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if err := receiveInfo(server, false); err != nil {
		t.Fatal(err)
	}
	port := server.LocalAddr().(*net.UDPAddr).Port
	client, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	asked := netip.MustParseAddr("127.0.0.9") // all of 127/8 is ours
	if _, err := client.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(asked, uint16(port))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*net.UDPConn{server, client} {
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	payload, oob := make([]byte, 16), make([]byte, 256)
	_, n, _, peer, err := server.ReadMsgUDPAddrPort(payload, oob)
	if err != nil {
		t.Fatal(err)
	}
	info := ParseInfo(oob[:n])
	if info.Dst != asked || info.TTL == nil || *info.TTL < 1 {
		t.Fatalf("got %+v", info)
	}
	if _, _, err := server.WriteMsgUDPAddrPort([]byte("y"), From(info.Dst), peer); err != nil {
		t.Fatal(err)
	}
	_, from, err := client.ReadFromUDPAddrPort(payload)
	if err != nil || from.Addr() != asked {
		t.Fatalf("answer from %v, %v", from, err)
	}
}

func TestAFamilyThatTheKernelLacksIsNoFailure(t *testing.T) {
	lacking := func(missing string, err error) func(family, address string) (string, error) {
		return func(family, address string) (string, error) {
			if family == missing {
				return "", &net.OpError{Op: "listen", Err: os.NewSyscallError("socket", err)}
			}
			return family + address, nil
		}
	}
	for missing, want := range map[string]string{"6": "4:80", "4": "6:80"} {
		got, err := each(80, lacking(missing, syscall.EAFNOSUPPORT))
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("without IPv%s: %q, %v", missing, got, err)
		}
		if got, err := each(80, lacking(missing, syscall.EADDRINUSE)); err == nil || len(got) != 1 {
			t.Errorf("IPv%s is taken: %q, %v", missing, got, err)
		}
	}
}
