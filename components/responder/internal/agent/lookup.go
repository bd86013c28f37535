package agent

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"cnilab.dev/components/responder/internal/dns"
)

// lookup asks one question: raw, or as a C library's resolver would.
func lookup(probe Probe, deadline time.Time) Result {
	config := readResolvConf("/etc/resolv.conf")
	if probe.Server != "" {
		config.servers = []string{probe.Server}
	}
	if len(config.servers) == 0 {
		return Result{Outcome: other, Detail: "no server given, and no nameserver in /etc/resolv.conf"}
	}
	if probe.Transport == "libc" {
		return resolve(probe, config, deadline)
	}
	if probe.Times > 0 {
		return repeat(probe, config.servers[0], deadline)
	}
	kind, err := dns.TypeByName(probe.Qtype)
	if err != nil {
		return Result{Outcome: other, Detail: err.Error()}
	}
	q := question{absolute(probe.Name), kind, probe.Transport, withPort(config.servers[0]), probe.EDNS}
	answer, query, failed := q.ask(deadline)
	result := Result{Outcome: okay, Server: config.servers[0], Queries: []Query{query}}
	if failed != nil {
		return result.with(*failed)
	}
	result.Rcode, result.Answers, result.Truncated = query.Rcode, query.Answers, answer.Truncated
	return result
}

// question is one query on the wire.
type question struct {
	name      string // absolute
	kind      dnsmessage.Type
	transport string // udp or tcp
	server    string // with port
	edns      uint16
}

// ask sends the query once and waits for its answer. The query is on record whether an answer came or not.
func (q question) ask(deadline time.Time) (dns.Message, Query, *Result) {
	begin := time.Now()
	query := q.record()
	answer, err := q.roundTrip(deadline)
	query.Ms = ms(time.Since(begin))
	if err != nil {
		failed := failure(err)
		query.Rcode = failed.Outcome
		return answer, query, &failed
	}
	query.answered(answer, q.kind)
	return answer, query, nil
}

// record is the question as it is written down, before anything came of it.
func (q question) record() Query {
	return Query{Name: q.name, Qtype: dns.TypeName(q.kind), Server: q.server, Transport: q.transport, Answers: []string{}}
}

func (q question) roundTrip(deadline time.Time) (dns.Message, error) {
	id := uint16(rand.Uint32())
	packed, err := dns.Query(id, q.name, q.kind, q.edns)
	if err != nil {
		return dns.Message{}, err
	}
	conn, err := net.DialTimeout(q.transport, q.server, max(time.Until(deadline), time.Microsecond))
	if err != nil {
		return dns.Message{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return dns.Message{}, err
	}
	if q.transport == "tcp" {
		packed = append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
	}
	if _, err := conn.Write(packed); err != nil {
		return dns.Message{}, err
	}
	for {
		answer, err := q.receive(conn)
		if err != nil || q.isAnswer(answer, id) {
			return answer, err
		}
	}
}

// receive reads the next message, whomever it answers.
func (q question) receive(conn net.Conn) (dns.Message, error) {
	b, err := q.read(conn)
	if err != nil {
		return dns.Message{}, err
	}
	answer, err := dns.Parse(b)
	if err != nil {
		return answer, fmt.Errorf("%w from %s", err, q.server)
	}
	return answer, nil
}

// isAnswer tells whether a message answers the question that was sent with an id.
func (q question) isAnswer(m dns.Message, id uint16) bool {
	return m.Response && m.ID == id && strings.EqualFold(m.Question.Name.String(), q.name)
}

// answered writes an answer down.
func (query *Query) answered(answer dns.Message, kind dnsmessage.Type) {
	query.Rcode = dns.RcodeName(answer.RCode)
	for _, record := range answer.Answers {
		data := record.Data
		if record.Type != kind {
			data = dns.TypeName(record.Type) + " " + data // a CNAME on the way
		}
		query.Answers = append(query.Answers, data)
	}
}

func (q question) read(conn net.Conn) ([]byte, error) {
	if q.transport == "tcp" {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return nil, err
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		_, err := io.ReadFull(conn, b)
		return b, err
	}
	b := make([]byte, 65536)
	n, err := conn.Read(b)
	return b[:n], err
}

func absolute(name string) string { return strings.TrimSuffix(name, ".") + "." }

func withPort(server string) string {
	if _, _, err := net.SplitHostPort(server); err == nil {
		return server
	}
	return net.JoinHostPort(strings.Trim(server, "[]"), "53")
}
