package agent

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"syscall"
	"time"

	"cnilab.dev/components/responder/internal/wire"
)

const (
	echoReply       = 0
	destUnreachable = 3
	echoRequest     = 8
	timeExceeded    = 11
	fragNeeded      = 4
	portUnreachable = 3
	icmpHeader      = 8
)

// pinger sends echo requests from one raw socket and gives each reply to the probe that waits for it: a socket for
// each would receive the replies of all.
type pinger struct {
	once    sync.Once
	conn    *net.IPConn
	err     error
	mu      sync.Mutex
	next    uint16
	waiting map[uint16]*echo
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
	p.conn, p.err = net.ListenIP("ip4:icmp", nil)
	if p.err == nil {
		go p.receive()
	}
}

func (p *pinger) exchange(probe Probe, deadline time.Time) Result {
	p.once.Do(p.open)
	if p.err != nil {
		return failure(p.err)
	}
	to, err := net.ResolveIPAddr("ip4", probe.Dial)
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
	if _, err := p.conn.WriteToIP(echoMessage(id, 1, frame), to); err != nil {
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
	packet := make([]byte, 65536)
	for {
		n, _, _, _, err := p.conn.ReadMsgIP(packet, nil)
		if err != nil {
			return
		}
		id, nonce, payload, result := readEcho(packet[:n])
		p.mu.Lock()
		waiter := p.waiting[id]
		p.mu.Unlock()
		if waiter != nil && result.Outcome != "" && (nonce == "" || nonce == waiter.nonce) {
			if result.Outcome == okay {
				result = result.compare(payload, waiter.frame)
			}
			select {
			case waiter.result <- result:
			default: // a duplicate
			}
		}
	}
}

// compare judges the data of a reply, which must be that of the request (RFC 792).
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

// readEcho reads an echo reply with its data, or an error about an echo request, from an IPv4 packet. An error quotes
// only the start of the request, perhaps without the nonce.
func readEcho(b []byte) (id uint16, nonce string, payload []byte, result Result) {
	body, ok := icmpOf(b)
	if !ok {
		return 0, "", nil, Result{}
	}
	switch body[0] {
	case echoReply:
		ttl := int(b[8])
		header, framed := wire.Parse(body[icmpHeader:])
		if !framed {
			return 0, "", nil, Result{}
		}
		return binary.BigEndian.Uint16(body[4:]), wire.Hex(header.Nonce), body[icmpHeader:], Result{
			Outcome: okay, ReplyTTL: &ttl,
			Source: net.IP(b[16:20]).String(), Peer: net.IP(b[16:20]).String(), Local: net.IP(b[12:16]).String(),
		}
	case destUnreachable, timeExceeded:
		quoted, ok := icmpOf(body[icmpHeader:])
		if !ok || quoted[0] != echoRequest {
			return 0, "", nil, Result{}
		}
		if header, framed := wire.Parse(quoted[icmpHeader:]); framed {
			nonce = wire.Hex(header.Nonce)
		}
		return binary.BigEndian.Uint16(quoted[4:]), nonce, nil, icmpError(b, body)
	}
	return 0, "", nil, Result{}
}

func icmpError(packet, body []byte) Result {
	kind, code := int(body[0]), int(body[1])
	result := Result{
		Outcome: unreachable, Errno: int(syscall.EHOSTUNREACH), ICMPType: &kind, ICMPCode: &code,
		Reporter: net.IP(packet[12:16]).String(),
	}
	switch {
	case kind == destUnreachable && code == fragNeeded:
		mtu := int(binary.BigEndian.Uint16(body[6:]))
		result.Outcome, result.Errno, result.ReportedMTU = msgsize, int(syscall.EMSGSIZE), &mtu
	case kind == destUnreachable && code == portUnreachable:
		result.Outcome, result.Errno = refused, int(syscall.ECONNREFUSED)
	}
	return result
}

// icmpOf is the ICMP message of an IPv4 packet.
func icmpOf(b []byte) ([]byte, bool) {
	if len(b) < 20 || b[0]>>4 != 4 || b[9] != syscall.IPPROTO_ICMP {
		return nil, false
	}
	start := int(b[0]&15) * 4
	if len(b) < start+icmpHeader {
		return nil, false
	}
	return b[start:], true
}

func echoMessage(id, sequence uint16, payload []byte) []byte {
	b := make([]byte, icmpHeader, icmpHeader+len(payload))
	b[0] = echoRequest
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], sequence)
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
