package agent

import (
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// patience is how long one connection may take to be made: longer than it takes to repeat a SYN that was lost, once.
const patience = 2500 * time.Millisecond

// churn opens and closes connections, first one after the other until the deadline, then all at once.
//
// Each has its own time: how many there is time for is a matter of the machine, and whether one is made of the network.
func churn(probe Probe, deadline time.Time) Result {
	tally := &connections{errors: map[string]int{}}
	untried := 0
	for i := range probe.Sequential {
		if time.Until(deadline) <= 0 {
			untried = probe.Sequential - i
			break
		}
		tally.open(probe.Dial)
	}
	var wait sync.WaitGroup
	for range probe.Parallel {
		wait.Add(1)
		go func() {
			defer wait.Done()
			tally.open(probe.Dial)
		}()
	}
	wait.Wait()
	result := tally.result()
	result.Untried = untried
	return result
}

// connections are the results of many connects.
type connections struct {
	mu     sync.Mutex
	times  []int64 // microseconds until established
	errors map[string]int
	worst  Result
}

func (c *connections) open(address string) {
	begin := time.Now()
	conn, err := net.DialTimeout("tcp", address, patience)
	took := time.Since(begin)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.worst = failure(err)
		name := c.worst.Outcome
		if c.worst.Errno != 0 {
			name = strconv.Itoa(c.worst.Errno)
		}
		c.errors[name]++
		return
	}
	c.times = append(c.times, took.Microseconds())
	_ = conn.Close()
}

func (c *connections) result() Result {
	result := Result{Outcome: okay, Connected: len(c.times), Errors: c.errors}
	if len(c.errors) > 0 {
		result = result.with(c.worst)
	}
	slices.Sort(c.times)
	result.P50Us, result.P99Us = percentile(c.times, 50), percentile(c.times, 99)
	return result
}

// percentile is the nearest-rank percentile of sorted values; 0 without any.
func percentile(sorted []int64, p int) int64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}
