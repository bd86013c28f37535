package agent

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"net"
	"time"

	"cnilab.dev/components/responder/internal/wire"
)

// collectWait is how long a receiver waits, after all has been sent, for the count of a stream to settle.
const collectWait = 5 * time.Second

// until ends what lasts when the input ends, because whoever started the agent has closed it, or is no more; or when it
// says so in a line, as not every way into a container tells of an end.
func (b *batch) until(in io.Reader) {
	defer close(b.ended)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if lines.Text() == "end" {
			return
		}
	}
}

// stream sends a numbered datagram at every tick, whatever becomes of it, and wants no answer.
//
// A datagram that the kernel refuses to send has its number all the same: it is one that did not arrive.
func (b *batch) stream(probe Probe, deadline time.Time, begun func()) Result {
	conn, err := net.DialTimeout("udp", probe.Dial, time.Until(deadline))
	if err != nil {
		return failure(err)
	}
	defer conn.Close()
	result := Result{Outcome: okay, Burst: probe.Burst, Source: conn.LocalAddr().String()}
	header := wire.Header{Kind: wire.Burst, Nonce: wire.BurstKey(probe.Burst)}
	ticker := time.NewTicker(max(time.Duration(probe.PaceUs)*time.Microsecond, time.Millisecond))
	defer ticker.Stop()
	over := time.NewTimer(time.Until(deadline) - collectWait)
	defer over.Stop()
	for last := time.Now(); ; {
		if _, err := conn.Write(wire.Frame(header, probe.Size)); err != nil {
			failed := failure(err)
			result.Errno, result.Detail = failed.Errno, failed.Detail
			_, _ = conn.Write(wire.Frame(header, probe.Size)) // what was refused may have been an earlier one
		}
		begun()
		header.Number++
		result.Sent++
		result.PauseMs, last = max(result.PauseMs, ms(time.Since(last))), time.Now()
		select {
		case <-ticker.C:
		case <-over.C:
			return result
		case <-b.ended:
			return result
		}
	}
}

// hold opens a connection, asks once, leaves it alone, and asks again over the same one.
func (b *batch) hold(probe Probe, deadline time.Time, begun func()) Result {
	d := dialer(probe, deadline)
	conn, err := d.DialContext(context.Background(), "tcp", probe.Dial)
	if err != nil {
		failed := failure(err)
		failed.Before = failed.Outcome
		return failed
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return failure(err)
	}
	reader := bufio.NewReader(conn)
	first := askOver(conn, reader, probe.Size)
	if first.Outcome != okay {
		first.Before = first.Outcome
		return first
	}
	begun()
	b.rest(time.Duration(probe.ForMs)*time.Millisecond, deadline.Add(-collectWait))
	if late := time.Now().Add(collectWait); late.Before(deadline) {
		_ = conn.SetDeadline(late)
	}
	second := askOver(conn, reader, probe.Size)
	second.Before = first.Outcome
	second.Peer = cmp.Or(second.Peer, first.Peer)
	return second
}

// rest is over when the plan's input has ended and the time is over, or at the deadline.
func (b *batch) rest(least time.Duration, deadline time.Time) {
	time.Sleep(min(least, time.Until(deadline)))
	over := time.NewTimer(time.Until(deadline))
	defer over.Stop()
	select {
	case <-b.ended:
	case <-over.C:
	}
}

// askOver asks the responder at the other end of a connection.
func askOver(conn net.Conn, reader *bufio.Reader, size int) Result {
	header, frame := newFrame(wire.Ask, size)
	base := Result{Outcome: okay, Source: conn.LocalAddr().String(), Nonce: wire.Hex(header.Nonce), Sent: len(frame)}
	if _, err := conn.Write(frame); err != nil {
		return base.with(failure(err))
	}
	line, err := reader.ReadBytes('\n')
	if err != nil {
		return base.with(failure(err))
	}
	return judge(base, line, frame)
}
