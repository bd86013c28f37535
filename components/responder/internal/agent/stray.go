package agent

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// Flow is a connection into which segments were sent that do not belong there.
type Flow struct {
	Peer   string `json:"peer"`            // address and port of the other end, as this one sees it
	Sent   int    `json:"sent"`            // segments
	Resets int    `json:"resets"`          // segments with RST that came from there
	Error  string `json:"error,omitempty"` // why one of them could not be sent
}

const (
	tcpHeader = 20
	flagSyn   = 0x02
	flagRst   = 0x04
	flagPush  = 0x08
	flagAck   = 0x10
	protoTCP  = 6
)

// astray is how far from the window the segments are: one is far beyond it, as if much had been lost, and one is long
// before it, as if it came very late. Trackers of connections take one or both for no part of the connection.
var astray = []uint32{1 << 28, ^uint32(100_000) + 1}

// stray listens to the connections that come to an address and port of ours, and sends segments out of their windows
// into each, once, as soon as its client has acknowledged an answer. The connection itself is the kernel's.
//
// It tells what became of them: a client that knows the connection ignores such segments, or says what it waits for
// (RFC 9293 §3.10.7.4). One that does not know it, because the segment's address was not translated, resets it.
//
// It lasts until the plan's input ends, or for a time.
func (b *batch) stray(probe Probe, deadline time.Time, begun func()) Result {
	own, err := netip.ParseAddrPort(probe.Dial)
	if err != nil {
		return failure(err)
	}
	network := "ip4:tcp"
	if own.Addr().Is6() {
		network = "ip6:tcp"
	}
	conn, err := net.ListenIP(network, &net.IPAddr{IP: own.Addr().AsSlice()})
	if err != nil {
		return failure(err)
	}
	defer conn.Close()
	if over := time.Now().Add(time.Duration(probe.ForMs) * time.Millisecond); !b.lasting && over.Before(deadline) {
		deadline = over
	}
	if err := conn.SetReadDeadline(deadline); err != nil {
		return failure(err)
	}
	if b.lasting {
		go func() {
			<-b.ended
			_ = conn.SetReadDeadline(time.Now())
		}()
	}
	begun()
	seen := flows{own: own, conn: conn, known: map[netip.AddrPort]*victim{}}
	packet := make([]byte, 65536)
	for {
		n, from, err := conn.ReadFromIP(packet)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return Result{Outcome: okay, Flows: seen.list()}
		}
		if err != nil {
			return failure(err)
		}
		peer, ok := netip.AddrFromSlice(from.IP)
		if ok {
			seen.segment(peer.Unmap(), packet[:n])
		}
	}
}

// victim is what is known of a connection.
type victim struct {
	Flow
	asked    bool // data came
	answered uint32
}

type flows struct {
	own   netip.AddrPort
	conn  *net.IPConn
	known map[netip.AddrPort]*victim
}

// segment is one that came from a peer.
func (f *flows) segment(peer netip.Addr, b []byte) {
	if len(b) < tcpHeader || binary.BigEndian.Uint16(b[2:]) != f.own.Port() {
		return
	}
	from := netip.AddrPortFrom(peer, binary.BigEndian.Uint16(b))
	offset := int(b[12]>>4) * 4
	sequence, acknowledged, flags := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), b[13]
	one := f.known[from]
	switch {
	case offset < tcpHeader || offset > len(b):
	case flags&flagRst != 0:
		if one != nil {
			one.Resets++
		}
	case flags&flagSyn != 0:
		f.known[from] = &victim{Flow: Flow{Peer: from.String()}}
	case one == nil || flags&flagAck == 0:
	case len(b) > offset:
		one.asked, one.answered = true, acknowledged
	case one.asked && one.Sent == 0 && acknowledged != one.answered:
		for _, distance := range astray {
			if err := f.send(from, acknowledged+distance, sequence); err != nil {
				one.Error = err.Error()
			} else {
				one.Sent++
			}
		}
	}
}

// send is a segment with a byte of data, as our end would send it.
func (f *flows) send(to netip.AddrPort, sequence, acknowledged uint32) error {
	b := make([]byte, tcpHeader, tcpHeader+1)
	binary.BigEndian.PutUint16(b, f.own.Port())
	binary.BigEndian.PutUint16(b[2:], to.Port())
	binary.BigEndian.PutUint32(b[4:], sequence)
	binary.BigEndian.PutUint32(b[8:], acknowledged)
	b[12], b[13] = tcpHeader/4<<4, flagPush|flagAck
	binary.BigEndian.PutUint16(b[14:], 502)
	b = append(b, 'x')
	binary.BigEndian.PutUint16(b[16:], checksumTCP(f.own.Addr(), to.Addr(), b))
	_, err := f.conn.WriteToIP(b, &net.IPAddr{IP: to.Addr().AsSlice()})
	return err
}

// checksumTCP is that of a segment with the addresses of its packet (RFC 9293 §3.1, RFC 8200 §8.1).
func checksumTCP(src, dst netip.Addr, segment []byte) uint16 {
	var sum uint32
	add := func(b []byte) {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		if len(b)%2 == 1 {
			sum += uint32(b[len(b)-1]) << 8
		}
	}
	add(src.AsSlice())
	add(dst.AsSlice())
	sum += protoTCP + uint32(len(segment))
	add(segment)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// list is what became of all connections, in the order of their peers.
func (f *flows) list() []Flow {
	found := make([]Flow, 0, len(f.known))
	for _, one := range f.known {
		found = append(found, one.Flow)
	}
	slices.SortFunc(found, func(a, b Flow) int { return strings.Compare(a.Peer, b.Peer) })
	return found
}
