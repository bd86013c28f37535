package agent

import (
	"net"
	"syscall"
	"time"

	"cnilab.dev/components/responder/internal/sock"
	"cnilab.dev/components/responder/internal/wire"
)

// Bytes of the headers in front of a UDP payload.
const (
	headers4 = 20 + 8
	headers6 = 40 + 8
)

// rung sends one UDP datagram whose IP packet has a given size and DF, and reports how the way refused it, if it did.
// UDP, because nobody filters it like ICMP; IP_PMTUDISC_PROBE, because a cached path MTU would answer for the path; but
// not where it is the pod's route that has the smaller MTU.
func rung(probe Probe, deadline time.Time) Result {
	address, err := net.ResolveUDPAddr("udp", probe.Dial)
	if err != nil {
		return failure(err)
	}
	v6 := address.IP.To4() == nil
	conn, err := net.DialUDP("udp", nil, address)
	if err != nil {
		return failure(err)
	}
	defer conn.Close()
	if err := sock.Probe(conn, v6, probe.Heed); err != nil {
		return failure(err)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return failure(err)
	}
	overhead := headers4
	if v6 {
		overhead = headers6
	}
	header, frame := newFrame(wire.Ask, probe.Size-overhead)
	base := Result{Outcome: okay, Source: conn.LocalAddr().String(), Nonce: wire.Hex(header.Nonce), Sent: len(frame)}
	if len(frame) != probe.Size-overhead {
		base.Outcome, base.Detail = other, "too small for a frame"
		return base
	}
	if _, err := conn.Write(frame); err != nil {
		base = base.with(failure(err))
		return base.explain(conn, v6)
	}
	return await(conn, base, frame, v6)
}

// await waits for the answer or for an ICMP error, whichever comes first.
func await(conn *net.UDPConn, base Result, frame []byte, v6 bool) Result {
	raw, err := conn.SyscallConn()
	if err != nil {
		return base.with(failure(err))
	}
	result := base
	reply := make([]byte, 65536)
	err = raw.Read(func(fd uintptr) bool {
		for {
			if queued, ok := sock.ReadErrorQueue(int(fd)); ok {
				result = base.queued(queued)
				return true
			}
			n, _, err := syscall.Recvfrom(int(fd), reply, syscall.MSG_DONTWAIT)
			switch {
			case err == syscall.EAGAIN:
				return false
			case err != nil:
				// The pending error of a queued one, which is there by now.
				if queued, ok := sock.ReadErrorQueue(int(fd)); ok {
					result = base.queued(queued)
				} else {
					result = base.with(failure(err))
				}
				return true
			}
			if result = judge(base, reply[:n], frame); result.Outcome != stranger {
				return true
			}
		}
	})
	if err != nil {
		result = base.with(failure(err))
	}
	if result.Outcome == msgsize && result.ReportedMTU == nil {
		return result.explain(conn, v6)
	}
	return result
}

// queued takes over what an entry of the error queue says.
func (r Result) queued(e sock.QueuedError) Result {
	r.Outcome, r.Errno, r.Origin, r.Detail = outcomeOf(e.Errno), int(e.Errno), e.Origin, e.Errno.Error()
	if e.MTU > 0 {
		r.ReportedMTU = &e.MTU
	}
	if e.Origin == "icmp" {
		r.ICMPType, r.ICMPCode = &e.Type, &e.Code
		if e.Reporter.IsValid() {
			r.Reporter = e.Reporter.String()
		}
	}
	return r
}

// explain finds the MTU behind an EMSGSIZE that sending gave.
func (r Result) explain(conn *net.UDPConn, v6 bool) Result {
	if r.Outcome != msgsize {
		return r
	}
	_ = sock.Control(conn, func(fd int) error {
		if queued, ok := sock.ReadErrorQueue(fd); ok {
			r = r.queued(queued)
		}
		return nil
	})
	if r.ReportedMTU == nil {
		if mtu := sock.PathMTU(conn, v6); mtu > 0 {
			r.ReportedMTU, r.Origin = &mtu, "local"
		}
	}
	return r
}
