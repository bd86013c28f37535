package agent

import (
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"cnilab.dev/components/responder/internal/dns"
)

// stagger is the time between two askings of a repeated question: all at once would be a load of its own.
const stagger = 20 * time.Millisecond

// repeat asks the same thing many times over UDP, each time from a new socket, and nothing again: what is lost shows.
// Of several types (A+AAAA) all are sent from that one socket before any answer is read, as a C library does it; or,
// to compare, each from a socket of its own. It ends well when every query was answered.
func repeat(probe Probe, server string, deadline time.Time) Result {
	var questions []question
	for _, name := range strings.Split(probe.Qtype, "+") {
		kind, err := dns.TypeByName(name)
		if err != nil {
			return Result{Outcome: other, Detail: err.Error()}
		}
		questions = append(questions, question{absolute(probe.Name), kind, "udp", withPort(server), probe.EDNS})
	}
	told := make([][]asked, probe.Times)
	var wait sync.WaitGroup
	for round := range told {
		if round > 0 {
			time.Sleep(stagger)
		}
		told[round] = make([]asked, len(questions))
		for i, q := range questions {
			told[round][i] = asked{question: q}
		}
		sockets := [][]asked{told[round]}
		if probe.Apart {
			sockets = nil
			for i := range questions {
				sockets = append(sockets, told[round][i:i+1])
			}
		}
		for _, one := range sockets {
			wait.Add(1)
			go func() {
				defer wait.Done()
				fromOneSocket(one, deadline)
			}()
		}
	}
	wait.Wait()
	result := Result{Outcome: okay, Server: server}
	for _, round := range told {
		for _, one := range round {
			result.Queries = append(result.Queries, one.query)
			if one.failed != nil && result.Outcome == okay {
				result = result.with(*one.failed)
			}
		}
	}
	return result
}

// asked is a question, and what came of it.
type asked struct {
	question
	id     uint16
	done   bool
	query  Query
	failed *Result
}

// fromOneSocket sends questions one after the other, and then reads answers until each has its own.
func fromOneSocket(questions []asked, deadline time.Time) {
	begin := time.Now()
	first := uint16(rand.Uint32())
	for i := range questions {
		one := &questions[i]
		one.id, one.query = first+uint16(i), one.record()
	}
	err := askAll(questions, deadline, begin)
	if err == nil {
		return
	}
	for i := range questions {
		if one := &questions[i]; !one.done {
			failed := failure(err)
			one.failed, one.query.Rcode, one.query.Ms = &failed, failed.Outcome, ms(time.Since(begin))
		}
	}
}

// askAll ends with an error when a question is left without an answer.
func askAll(questions []asked, deadline, begin time.Time) error {
	conn, err := net.DialTimeout("udp", questions[0].server, max(time.Until(deadline), time.Microsecond))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	for _, one := range questions {
		packed, err := dns.Query(one.id, one.name, one.kind, one.edns)
		if err != nil {
			return err
		}
		if _, err := conn.Write(packed); err != nil {
			return err
		}
	}
	for left := len(questions); left > 0; {
		answer, err := questions[0].receive(conn)
		if err != nil {
			return err
		}
		for i := range questions {
			one := &questions[i]
			if one.done || !one.isAnswer(answer, one.id) || answer.Question.Type != one.kind {
				continue
			}
			one.done, one.query.Ms = true, ms(time.Since(begin))
			one.query.answered(answer, one.kind)
			left--
		}
	}
	return nil
}
