// Package agent runs a plan of probes: all of them at once, failed ones again, every attempt on record.
package agent

import (
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Main is `responder run`.
func Main([]string) error { return Run(os.Stdin, os.Stdout) }

// Run reads a plan and writes one line per probe.
//
// A plan that lasts has a line of its own before all others, as soon as each of its probes has begun: whoever reads it
// knows that from now on all is seen.
//
// Tries are breadth-first: all probes have their first try before any has its second. Each round may take an even
// share of the time that is left, so that a plan whose every probe times out takes its deadline once.
func Run(in io.Reader, out io.Writer) error {
	plan, rest, err := readPlan(in)
	if err != nil {
		return err
	}
	b := &batch{start: time.Now(), lasting: plan.Lasting, ended: make(chan struct{}), pinger: &pinger{ipVersion: version4}, pinger6: &pinger{ipVersion: version6}}
	b.end = b.start.Add(time.Duration(plan.DeadlineMs) * time.Millisecond)
	if plan.Lasting {
		go b.until(rest)
	} else {
		close(b.ended)
	}
	var long sync.WaitGroup
	lines := make([]Result, len(plan.Probes))
	var pending []int
	for i, probe := range plan.Probes {
		if retriable(probe) {
			pending = append(pending, i)
			continue
		}
		long.Add(1)
		b.begun.Add(1)
		go func() {
			defer long.Done()
			begun := sync.OnceFunc(b.begun.Done)
			defer begun() // at the latest: it has failed
			lines[i] = b.try(probe, b.end, begun)
		}()
	}
	encoder := json.NewEncoder(out)
	told := make(chan error, 1)
	go func() {
		defer close(told)
		if !plan.Lasting {
			return
		}
		b.begun.Wait()
		told <- encoder.Encode(Result{ID: begunID, Kind: begunID, Outcome: okay, Ms: ms(time.Since(b.start))})
	}()
	for round := 0; round <= plan.Retries && len(pending) > 0; round++ {
		share := time.Until(b.end) / time.Duration(plan.Retries-round+1)
		b.round(plan.Probes, pending, lines, time.Now().Add(share))
		var failed []int
		for _, i := range pending {
			if !ended(plan.Probes[i], lines[i]) {
				failed = append(failed, i)
			}
		}
		pending = failed
	}
	long.Wait()
	if err := <-told; err != nil {
		return err
	}
	for _, line := range lines {
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// ended tells whether a probe needs no further try.
func ended(probe Probe, last Result) bool {
	resent := probe.OneSyn && last.Resent != nil && *last.Resent > 0
	return last.Outcome == probe.Expect && !resent
}

// begunID is the id of the line that says so.
const begunID = "begun"

// batch is one run of a plan.
type batch struct {
	start, end      time.Time
	lasting         bool           // its plan is
	begun           sync.WaitGroup // of the probes that are tried once
	ended           chan struct{}  // closed when nothing is to last any longer
	pinger, pinger6 *pinger
}

// retriable probes are single shots; the others try many things and say how many failed.
func retriable(probe Probe) bool {
	switch probe.Kind {
	case "burst", "collect", "churn", "stream", "hold", "rounds", "flow", "stray":
		return false
	}
	return probe.Times == 0
}

// width bounds the sockets that are open at the same time.
const width = 4096

func (b *batch) round(probes []Probe, pending []int, lines []Result, deadline time.Time) {
	var wait sync.WaitGroup
	slots := make(chan struct{}, width)
	for _, i := range pending {
		wait.Add(1)
		slots <- struct{}{}
		go func() {
			defer wait.Done()
			defer func() { <-slots }()
			result := b.try(probes[i], deadline, func() {})
			result.Tries = append(lines[i].Tries, result.Tries...)
			lines[i] = result
		}()
	}
	wait.Wait()
}

func (b *batch) try(probe Probe, deadline time.Time, begun func()) Result {
	begin := time.Now()
	result := b.probe(probe, deadline, begun)
	result.ID, result.Kind, result.Ms = probe.ID, probe.Kind, ms(time.Since(begin))
	result.Tries = []Try{{TMs: ms(begin.Sub(b.start)), Ms: result.Ms, Outcome: result.Outcome, Errno: result.Errno}}
	return result
}

// probe calls begun as soon as what a probe that lasts is there for has begun.
func (b *batch) probe(probe Probe, deadline time.Time, begun func()) Result {
	switch probe.Kind {
	case "exchange":
		switch probe.Proto {
		case "tcp":
			return exchangeTCP(probe, deadline)
		case "udp":
			return exchangeUDP(probe, deadline)
		case "icmp":
			if is6(probe.Dial) {
				return b.pinger6.exchange(probe, deadline)
			}
			return b.pinger.exchange(probe, deadline)
		}
	case "bind":
		return bind(probe)
	case "rung":
		return rung(probe, deadline)
	case "burst":
		return burst(probe, deadline)
	case "collect":
		begun()
		return b.collect(probe, deadline)
	case "stream":
		return b.stream(probe, deadline, begun)
	case "hold":
		return b.hold(probe, deadline, begun)
	case "rounds":
		return rounds(probe, deadline)
	case "flow":
		return flow(probe, deadline)
	case "stray":
		return b.stray(probe, deadline, begun)
	case "churn":
		return churn(probe, deadline)
	case "lookup":
		return lookup(probe, deadline)
	}
	return Result{Outcome: "error", Detail: "unknown kind or protocol: " + probe.Kind + " " + probe.Proto}
}

// is6 tells whether an address without a port is one of IPv6.
func is6(address string) bool {
	parsed, err := netip.ParseAddr(address)
	return err == nil && parsed.Is6() && !parsed.Is4In6()
}
