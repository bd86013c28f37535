package agent

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"cnilab.dev/components/responder/internal/wire"
)

const (
	// A burst is paced, or it would measure the receive buffer of a pod and not the network.
	paceCount = 8
	pace      = time.Millisecond
	// A count that did not rise for this long does not rise any more.
	settled  = 400 * time.Millisecond
	pollWait = 10 * time.Millisecond
)

// burst sends numbered datagrams and wants no answer.
func burst(probe Probe, deadline time.Time) Result {
	conn, err := net.DialTimeout("udp", probe.Dial, time.Until(deadline))
	if err != nil {
		return failure(err)
	}
	defer conn.Close()
	result := Result{Outcome: okay, Burst: probe.Burst, Source: conn.LocalAddr().String()}
	header := wire.Header{Kind: wire.Burst, Nonce: wire.BurstKey(probe.Burst)}
	for header.Number = 0; int(header.Number) < probe.Count; header.Number++ {
		// A connected socket reports the ICMP error of an earlier datagram; this one was not sent then.
		if _, err := conn.Write(wire.Frame(header, probe.Size)); err != nil {
			result = result.with(failure(err))
			if _, err = conn.Write(wire.Frame(header, probe.Size)); err != nil {
				return result
			}
		}
		result.Sent++
		if header.Number%paceCount == paceCount-1 {
			time.Sleep(pace)
		}
	}
	if !probe.Ask || result.Outcome != okay {
		return result
	}
	return count(result, probe, deadline, func() (wire.Count, error) { return askHTTP(probe, deadline) })
}

// collect reads the count of a burst at its receiver, which is the responder of our own network namespace.
func (b *batch) collect(probe Probe, deadline time.Time) Result {
	<-b.ended
	if late := time.Now().Add(collectWait); b.lasting && late.Before(deadline) {
		deadline = late
	}
	result := Result{Outcome: okay, Burst: probe.Burst}
	address, err := netip.ParseAddrPort(probe.Dial)
	if err != nil {
		return failure(err)
	}
	conn, err := net.DialTimeout("unix", wire.LocalSocket(address.Port()), time.Until(deadline))
	if err != nil {
		return failure(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return failure(err)
	}
	reader := bufio.NewReader(conn)
	return count(result, probe, deadline, func() (counted wire.Count, err error) {
		if _, err = fmt.Fprintln(conn, wire.Hex(wire.BurstKey(probe.Burst))); err != nil {
			return counted, err
		}
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return counted, err
		}
		return counted, json.Unmarshal(line, &counted)
	})
}

// count polls until all datagrams arrived, until the count has settled, or until the deadline.
func count(result Result, probe Probe, deadline time.Time, ask func() (wire.Count, error)) Result {
	last, since := 0, time.Now()
	for {
		counted, err := ask()
		if err == nil {
			result.Counted, result.Received, result.Duplicates = true, counted.Received, counted.Duplicates
			result.Gap, result.Last = counted.Gap, counted.Last
			if counted.Received != last {
				last, since = counted.Received, time.Now()
			}
		}
		done := result.Received >= probe.Count || last > 0 && time.Since(since) > settled
		if done || time.Until(deadline) < 2*pollWait {
			if !result.Counted && err != nil {
				result.Detail = "no count: " + err.Error()
			}
			return result
		}
		time.Sleep(pollWait)
	}
}

// askHTTP asks the responder on the other side.
func askHTTP(probe Probe, deadline time.Time) (counted wire.Count, err error) {
	conn, err := net.DialTimeout("tcp", probe.Dial, time.Until(deadline))
	if err != nil {
		return counted, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return counted, err
	}
	if _, err := fmt.Fprintf(conn, "GET /burst?id=%s HTTP/1.0\r\n\r\n", wire.Hex(wire.BurstKey(probe.Burst))); err != nil {
		return counted, err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 4096))
	if err != nil {
		return counted, err
	}
	for i := range answer {
		if answer[i] == '{' {
			return counted, json.Unmarshal(answer[i:], &counted)
		}
	}
	return counted, fmt.Errorf("not an answer of a responder: %.40q", answer)
}
