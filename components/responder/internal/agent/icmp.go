package agent

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"cnilab.dev/components/responder/internal/sock"
	"cnilab.dev/components/responder/internal/wire"
)

const icmpHeader = 8

// pinger sends echo requests of one IP family from one raw socket and gives each reply to the probe that waits for it:
// a socket for each would receive the replies of all.
type pinger struct {
	ipVersion
	once    sync.Once
	conn    *net.IPConn
	err     error
	mu      sync.Mutex
	next    uint16
	waiting map[uint16]*echo
}

// ipVersion is what differs between ICMP and ICMPv6.
type ipVersion struct {
	network string // of a raw socket
	family  string // of an address
	prepare func(conn *net.IPConn) error
	message func(id, sequence uint16, payload []byte) []byte
	// read makes sense of what a socket received.
	read func(packet []byte, from net.IP, info sock.Info) heard
}

// heard is an echo reply with its data, or an error about an echo request, which quotes only the start of the request,
// perhaps without the nonce. Of anything else the outcome is empty.
type heard struct {
	id      uint16
	nonce   string
	payload []byte
	result  Result
}

// echo is a request under way.
type echo struct {
	nonce  string
	frame  []byte
	result chan Result
}

func (p *pinger) open() {
	p.waiting = map[uint16]*echo{}
	p.next = uint16(time.Now().UnixNano()) // two agents of one namespace should not choose the same ids
	if p.conn, p.err = net.ListenIP(p.network, nil); p.err != nil {
		return
	}
	if p.err = p.prepare(p.conn); p.err == nil {
		go p.receive()
	}
}

func (p *pinger) exchange(probe Probe, deadline time.Time) Result {
	p.once.Do(p.open)
	if p.err != nil {
		return failure(p.err)
	}
	to, err := net.ResolveIPAddr(p.family, probe.Dial)
	if err != nil {
		return failure(err)
	}
	header, frame := newFrame(wire.Ask, probe.Size)
	waiter := &echo{nonce: wire.Hex(header.Nonce), frame: frame, result: make(chan Result, 1)}
	p.mu.Lock()
	id := p.next
	p.next++
	p.waiting[id] = waiter
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, id)
		p.mu.Unlock()
	}()
	base := Result{Nonce: waiter.nonce, Sent: len(frame)}
	begin := time.Now()
	if _, err := p.conn.WriteToIP(p.message(id, 1, frame), to); err != nil {
		return base.with(failure(err))
	}
	select {
	case result := <-waiter.result:
		rtt := time.Since(begin).Microseconds()
		result.Nonce, result.Sent, result.RTTUs = base.Nonce, base.Sent, &rtt
		return result
	case <-time.After(time.Until(deadline)):
		base.Outcome, base.Errno = timeout, int(syscall.ETIMEDOUT)
		return base
	}
}

func (p *pinger) receive() {
	packet, oob := make([]byte, 65536), make([]byte, 256)
	for {
		n, oobn, _, from, err := p.conn.ReadMsgIP(packet, oob)
		if err != nil {
			return
		}
		got := p.read(packet[:n], from.IP, sock.ParseInfo(oob[:oobn]))
		p.mu.Lock()
		waiter := p.waiting[got.id]
		p.mu.Unlock()
		if waiter != nil && got.result.Outcome != "" && (got.nonce == "" || got.nonce == waiter.nonce) {
			result := got.result
			if result.Outcome == okay {
				result = result.compare(got.payload, waiter.frame)
			}
			select {
			case waiter.result <- result:
			default: // a duplicate
			}
		}
	}
}

// compare judges the data of a reply, which must be that of the request (RFC 792, RFC 4443 §4.2).
func (r Result) compare(payload, frame []byte) Result {
	intact := bytes.Equal(payload, frame)
	r.Received, r.Intact = len(payload), &intact
	switch {
	case len(payload) != len(frame):
		r.Outcome = short
	case !intact:
		r.Outcome = corrupt
	}
	return r
}

// about is the request that an ICMP error quotes.
func about(request []byte, result Result) heard {
	got := heard{id: binary.BigEndian.Uint16(request[4:]), result: result}
	if header, framed := wire.Parse(request[icmpHeader:]); framed {
		got.nonce = wire.Hex(header.Nonce)
	}
	return got
}

// replied is an echo reply; one that is no answer to a probe of ours says nothing.
func replied(message []byte, result Result) heard {
	header, framed := wire.Parse(message[icmpHeader:])
	if !framed {
		return heard{}
	}
	return heard{binary.BigEndian.Uint16(message[4:]), wire.Hex(header.Nonce), message[icmpHeader:], result}
}

// refusal is what an ICMP error means for a probe.
func refusal(kind, code int, reporter string) Result {
	return Result{
		Outcome: unreachable, Errno: int(syscall.EHOSTUNREACH), ICMPType: &kind, ICMPCode: &code, Reporter: reporter,
		Detail: fmt.Sprintf("ICMP type %d code %d from %s", kind, code, reporter),
	}
}

func (r Result) tooBig(mtu int) Result {
	r.Outcome, r.Errno, r.ReportedMTU = msgsize, int(syscall.EMSGSIZE), &mtu
	return r
}

func (r Result) refused() Result {
	r.Outcome, r.Errno = refused, int(syscall.ECONNREFUSED)
	return r
}

// message is an echo request or reply without its checksum.
func message(kind byte, id, sequence uint16, payload []byte) []byte {
	b := make([]byte, icmpHeader, icmpHeader+len(payload))
	b[0] = kind
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], sequence)
	return append(b, payload...)
}
