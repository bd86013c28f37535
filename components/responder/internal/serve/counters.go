package serve

import (
	"maps"
	"slices"
	"sync"

	"cnilab.dev/components/responder/internal/wire"
)

// maxBursts bounds the memory of a responder that is never restarted; the oldest burst is forgotten first.
const maxBursts = 4096

// counters count the datagrams of bursts by their sequence numbers.
type counters struct {
	mu     sync.Mutex
	bursts map[[8]byte]*tally
	order  [][8]byte
}

type tally struct {
	seen       map[uint32]bool
	duplicates int
}

func (c *counters) add(header wire.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.bursts[header.Nonce]
	if t == nil {
		if c.bursts == nil {
			c.bursts = make(map[[8]byte]*tally)
		}
		if len(c.order) == maxBursts {
			delete(c.bursts, c.order[0])
			c.order = c.order[1:]
		}
		t = &tally{seen: make(map[uint32]bool)}
		c.bursts[header.Nonce] = t
		c.order = append(c.order, header.Nonce)
	}
	if t.seen[header.Number] {
		t.duplicates++
	}
	t.seen[header.Number] = true
}

func (c *counters) get(key string) wire.Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := wire.Count{Burst: key}
	for nonce, t := range c.bursts {
		if wire.Hex(nonce) == key {
			count.Received, count.Duplicates = len(t.seen), t.duplicates
			count.Gap, count.Last = t.gap()
		}
	}
	return count
}

// gap is the longest row of numbers that are missing before the highest one, and the highest one.
func (t *tally) gap() (longest, last int) {
	numbers := slices.Sorted(maps.Keys(t.seen))
	next := 0
	for _, number := range numbers {
		longest, next = max(longest, int(number)-next), int(number)+1
	}
	return longest, max(0, next-1)
}
