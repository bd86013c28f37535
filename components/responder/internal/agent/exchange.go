package agent

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"cnilab.dev/components/responder/internal/sock"
	"cnilab.dev/components/responder/internal/wire"
)

// chunk is the size of a write, and so the grain in which stalls of an upload are seen.
const chunk = 64 << 10

func newFrame(kind byte, size int) (header wire.Header, frame []byte) {
	header = wire.Header{Kind: kind, Number: uint32(max(size, wire.HeaderLen))}
	_, _ = rand.Read(header.Nonce[:]) // never fails on Linux
	return header, wire.Frame(header, size)
}

func dialer(probe Probe, deadline time.Time) net.Dialer {
	d := net.Dialer{Deadline: deadline, KeepAlive: -1}
	if probe.SourcePort != 0 {
		d.Control = sock.ReuseAddr
		d.LocalAddr = &net.TCPAddr{Port: probe.SourcePort}
		if probe.Proto == "udp" {
			d.LocalAddr = &net.UDPAddr{Port: probe.SourcePort}
		}
	}
	return d
}

func exchangeTCP(probe Probe, deadline time.Time) Result {
	begin := time.Now()
	d := dialer(probe, deadline)
	conn, err := d.DialContext(context.Background(), "tcp", probe.Dial)
	if err != nil {
		return failure(err)
	}
	defer conn.Close()
	rtt := time.Since(begin).Microseconds()
	// Before anything is sent, so that what was sent again can only be the SYN.
	base := Result{Outcome: okay, Source: conn.LocalAddr().String(), RTTUs: &rtt, Resent: sock.Resent(conn.(*net.TCPConn))}
	if probe.Connect {
		return base
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return failure(err)
	}
	if probe.TLS {
		return certificate(base, conn, probe)
	}
	header, frame := newFrame(wire.Ask, probe.Size)
	base.Nonce, base.Sent = wire.Hex(header.Nonce), len(frame)
	stall, err := send(conn, frame)
	var line []byte
	if err == nil {
		waiting := time.Now()
		if line, err = bufio.NewReader(conn).ReadBytes('\n'); err != nil {
			stall = max(stall, ms(time.Since(waiting)))
		}
	}
	result := base
	if err != nil {
		result = base.with(failure(err))
	} else {
		result = judge(base, line, frame)
	}
	if len(frame) > chunk {
		stall = max(stall, gapMs(line))
		result.StallMs = &stall
	}
	return result
}

// send writes a frame in chunks and tells the longest time that one took, in milliseconds.
func send(conn net.Conn, frame []byte) (stall float64, err error) {
	for left := frame; len(left) > 0 && err == nil; {
		begin, n := time.Now(), 0
		n, err = conn.Write(left[:min(chunk, len(left))])
		stall = max(stall, ms(time.Since(begin)))
		left = left[n:]
	}
	return stall, err
}

func exchangeUDP(probe Probe, deadline time.Time) Result {
	d := dialer(probe, deadline)
	conn, err := d.DialContext(context.Background(), "udp", probe.Dial)
	if err != nil {
		return failure(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return failure(err)
	}
	if probe.Extension != "" {
		if err := sock.Extend(conn.(*net.UDPConn), probe.Extension); err != nil {
			result := failure(err)
			result.Outcome = other // nothing was sent
			return result
		}
	}
	header, frame := newFrame(wire.Ask, probe.Size)
	base := Result{Outcome: okay, Source: conn.LocalAddr().String(), Nonce: wire.Hex(header.Nonce), Sent: len(frame)}
	begin := time.Now()
	if _, err := conn.Write(frame); err != nil {
		return base.with(failure(err))
	}
	reply := make([]byte, 65536)
	for {
		n, err := conn.Read(reply)
		if err != nil {
			return base.with(failure(err))
		}
		if result := judge(base, reply[:n], frame); result.Outcome != stranger {
			rtt := time.Since(begin).Microseconds()
			result.RTTUs = &rtt
			return result
		}
	}
}

// stranger is the outcome of an answer to somebody else's question; it is waited past.
const stranger = "stranger"

// judge compares the answer with what was sent.
func judge(base Result, line, frame []byte) Result {
	var answer wire.Answer
	if err := json.Unmarshal(line, &answer); err != nil || answer.SHA256 == "" {
		base.Outcome, base.Detail = other, "something that is not a responder answered"
		return base
	}
	if answer.Nonce != base.Nonce && answer.Nonce != "" {
		base.Outcome = stranger
		return base
	}
	sum := sha256.Sum256(frame)
	intact := answer.SHA256 == hex.EncodeToString(sum[:])
	base.Token, base.Peer, base.Local = answer.Token, answer.Peer, answer.Local
	base.TTL, base.MSS, base.Received, base.Intact = answer.TTL, answer.MSS, answer.Len, &intact
	switch {
	case answer.Len != len(frame):
		base.Outcome = short
	case !intact:
		base.Outcome = corrupt
	}
	return base
}

// gapMs is the longest pause that the receiver saw in an upload, in milliseconds.
func gapMs(line []byte) float64 {
	var answer wire.Answer
	if json.Unmarshal(line, &answer) != nil {
		return 0
	}
	return float64(answer.GapUs) / 1000
}

// with keeps what was known of a try when it failed.
func (r Result) with(failed Result) Result {
	r.Outcome, r.Errno, r.Detail = failed.Outcome, failed.Errno, failed.Detail
	return r
}

// bind tries to listen: in the family of the address, or in all without one.
func bind(probe Probe) Result {
	var socket io.Closer
	var err error
	switch network := probe.Proto + familyOf(probe.Dial); probe.Proto {
	case "tcp":
		socket, err = net.Listen(network, probe.Dial)
	case "udp":
		socket, err = net.ListenPacket(network, probe.Dial)
	default:
		return Result{Outcome: other, Detail: "bind: protocol " + strconv.Quote(probe.Proto)}
	}
	if err != nil {
		result := failure(err)
		result.Outcome = other // whatever the errno means to who sends
		return result
	}
	_ = socket.Close()
	return Result{Outcome: okay}
}

// familyOf is the end of the network's name for an address with a port: "4", "6", or nothing for a port alone.
func familyOf(dial string) string {
	address, err := netip.ParseAddrPort(dial)
	switch {
	case err != nil:
		return ""
	case address.Addr().Is4():
		return "4"
	}
	return "6"
}
