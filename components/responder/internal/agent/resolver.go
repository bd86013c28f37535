package agent

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"cnilab.dev/components/responder/internal/dns"
)

// resolvConf is what resolv.conf(5) says, as far as it decides which queries are sent.
type resolvConf struct {
	servers  []string
	search   []string
	ndots    int
	timeout  time.Duration
	attempts int
}

// maxServers is MAXNS of resolv.h.
const maxServers = 3

func readResolvConf(path string) resolvConf {
	text, err := os.ReadFile(path)
	if err != nil {
		text = nil // as in the C library: all defaults
	}
	return parseResolvConf(string(text))
}

func parseResolvConf(text string) resolvConf {
	c := resolvConf{ndots: 1, timeout: 5 * time.Second, attempts: 2}
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) < 2 || strings.HasPrefix(words[0], "#") || strings.HasPrefix(words[0], ";") {
			continue
		}
		switch words[0] {
		case "nameserver":
			if len(c.servers) < maxServers {
				c.servers = append(c.servers, words[1])
			}
		case "search", "domain":
			c.search = words[1:]
		case "options":
			for _, option := range words[1:] {
				c.option(option)
			}
		}
	}
	return c
}

func (c *resolvConf) option(option string) {
	key, value, _ := strings.Cut(option, ":")
	n, err := strconv.Atoi(value)
	if err != nil {
		return
	}
	switch key {
	case "ndots":
		c.ndots = min(n, 15)
	case "timeout":
		c.timeout = time.Duration(min(n, 30)) * time.Second
	case "attempts":
		c.attempts = min(n, 5)
	}
}

// candidates are the absolute names to try, in order: the search list first for a name with fewer dots than ndots,
// last otherwise; never for a name with a trailing dot.
func (c resolvConf) candidates(name string) []string {
	if strings.HasSuffix(name, ".") {
		return []string{name}
	}
	var list []string
	for _, domain := range c.search {
		list = append(list, absolute(name+"."+strings.Trim(domain, ".")))
	}
	if strings.Count(name, ".") >= c.ndots {
		return append([]string{absolute(name)}, list...)
	}
	return append(list, absolute(name))
}

// resolve does what getaddrinfo of a C library does, and keeps every query: it walks the candidates until one has an
// address; A and AAAA are asked at the same time, a truncated answer is asked for again over TCP, the next server is
// asked when one does not answer or fails.
func resolve(probe Probe, config resolvConf, deadline time.Time) Result {
	result := Result{Outcome: okay, Server: config.servers[0]}
	var kinds []dnsmessage.Type
	for _, name := range strings.Split(probe.Qtype, "+") {
		kind, err := dns.TypeByName(name)
		if err != nil {
			return Result{Outcome: other, Detail: err.Error()}
		}
		kinds = append(kinds, kind)
	}
	for _, name := range config.candidates(probe.Name) {
		var failed *Result
		results := make([]lookupPart, len(kinds))
		var wait sync.WaitGroup
		for i, kind := range kinds {
			wait.Add(1)
			go func() {
				defer wait.Done()
				results[i] = config.query(question{name: name, kind: kind, edns: probe.EDNS}, deadline)
			}()
		}
		wait.Wait()
		for _, part := range results {
			result.Queries = append(result.Queries, part.queries...)
			if part.failed != nil {
				failed = part.failed
				continue
			}
			result.Rcode = part.last.Rcode
			result.Truncated = result.Truncated || part.truncated
			result.Answers = append(result.Answers, part.last.Answers...)
		}
		if len(result.Answers) > 0 {
			result.Rcode = dns.RcodeName(dnsmessage.RCodeSuccess)
			slices.Sort(result.Answers)
		}
		if failed != nil {
			return result.with(*failed) // one type may have its answer: the lookup was cut off, and is not whole
		}
		if len(result.Answers) > 0 {
			return result
		}
	}
	return result
}

// lookupPart is the story of one name and type.
type lookupPart struct {
	queries   []Query
	last      Query
	truncated bool
	failed    *Result
}

func (c resolvConf) query(q question, deadline time.Time) lookupPart {
	var part lookupPart
	for range max(1, c.attempts) {
		for _, server := range c.servers {
			if time.Until(deadline) <= 0 {
				part.failed = &Result{Outcome: timeout, Errno: int(syscall.ETIMEDOUT)}
				return part
			}
			end := time.Now().Add(c.timeout)
			if deadline.Before(end) {
				end = deadline
			}
			q.server, q.transport = withPort(server), "udp"
			answer, query, failed := q.ask(end)
			part.queries = append(part.queries, query)
			if failed == nil && answer.Truncated {
				part.truncated, q.transport = true, "tcp"
				answer, query, failed = q.ask(end)
				part.queries = append(part.queries, query)
			}
			part.last, part.failed = query, failed
			if failed == nil && !askNext(answer.RCode) {
				return part
			}
		}
	}
	return part
}

// askNext tells whether a C library asks the next server after an answer with that code.
func askNext(code dnsmessage.RCode) bool {
	switch code {
	case dnsmessage.RCodeServerFailure, dnsmessage.RCodeNotImplemented, dnsmessage.RCodeRefused:
		return true
	}
	return false
}
