package agent

import (
	"bufio"
	"encoding/json"
	"net"
	"slices"
	"time"

	"cnilab.dev/components/responder/internal/wire"
)

// load is the size of one frame of a flow, in bytes: large enough that waiting for its answer does not count.
const load = 16 << 20

// rounds asks and waits for the answer, again and again over one connection: the time from request to response.
func rounds(probe Probe, deadline time.Time) Result {
	conn, err := net.DialTimeout("tcp", probe.Dial, time.Until(deadline))
	if err != nil {
		return failure(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return failure(err)
	}
	reader := bufio.NewReader(conn)
	var times []int64
	result := Result{Outcome: okay, Source: conn.LocalAddr().String()}
	for range probe.Count {
		begin := time.Now()
		one := askOver(conn, reader, probe.Size)
		if one.Outcome != okay {
			result = result.with(one)
			break
		}
		result.Token, result.Local = one.Token, one.Local
		times = append(times, time.Since(begin).Microseconds())
	}
	slices.Sort(times)
	result.Connected, result.P50Us, result.P99Us = len(times), percentile(times, 50), percentile(times, 99)
	return result
}

// flow uploads over one connection for a while; what the receiver acknowledges counts.
func flow(probe Probe, deadline time.Time) Result {
	conn, err := net.DialTimeout("tcp", probe.Dial, time.Until(deadline))
	if err != nil {
		return failure(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return failure(err)
	}
	reader := bufio.NewReader(conn)
	header, frame := newFrame(wire.Sink, load)
	result := Result{Outcome: okay, Source: conn.LocalAddr().String(), Nonce: wire.Hex(header.Nonce)}
	begin := time.Now()
	for time.Since(begin) < time.Duration(probe.ForMs)*time.Millisecond {
		_, err := send(conn, frame)
		var line []byte
		if err == nil {
			line, err = reader.ReadBytes('\n')
		}
		var answer wire.Answer
		if err == nil {
			err = json.Unmarshal(line, &answer)
		}
		if err != nil {
			return result.with(failure(err))
		}
		result.Token, result.Local = answer.Token, answer.Local
		result.Sent += len(frame)
		result.Received += answer.Len
	}
	return result
}
