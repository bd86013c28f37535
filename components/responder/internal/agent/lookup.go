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
	query := Query{Name: q.name, Qtype: dns.TypeName(q.kind), Server: q.server, Transport: q.transport, Answers: []string{}}
	answer, err := q.roundTrip(deadline)
	query.Ms = ms(time.Since(begin))
	if err != nil {
		failed := failure(err)
		query.Rcode = failed.Outcome
		return answer, query, &failed
	}
	query.Rcode = dns.RcodeName(answer.RCode)
	for _, record := range answer.Answers {
		data := record.Data
		if record.Type != q.kind {
			data = dns.TypeName(record.Type) + " " + data // a CNAME on the way
		}
		query.Answers = append(query.Answers, data)
	}
	return answer, query, nil
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
		b, err := q.read(conn)
		if err != nil {
			return dns.Message{}, err
		}
		answer, err := dns.Parse(b)
		if err != nil {
			return answer, fmt.Errorf("%w from %s", err, q.server)
		}
		if answer.Response && answer.ID == id && strings.EqualFold(answer.Question.Name.String(), q.name) {
			return answer, nil
		}
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
