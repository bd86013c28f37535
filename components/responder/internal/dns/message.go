// Package dns asks and answers with golang.org/x/net/dns/dnsmessage, and writes down what came as dig would.
package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// ErrMessage is the cause of every failure to read a message.
var ErrMessage = errors.New("malformed DNS message")

// Message is what came. Only what labs use is kept.
type Message struct {
	dnsmessage.Header
	Question dnsmessage.Question // with the name as it came
	Answers  []Record
	EDNS     uint16 // UDP payload size of the OPT record; 0 for none
}

// Record is a resource record with its data in presentation form.
type Record struct {
	Type dnsmessage.Type
	Data string
}

// Parse reads a message, all of it: one that breaks off in a section that is not kept is malformed too.
func Parse(b []byte) (Message, error) {
	m, err := parse(b)
	if err != nil {
		return m, ErrMessage // how it is malformed is of no use to who asked
	}
	return m, nil
}

func parse(b []byte) (m Message, err error) {
	var p dnsmessage.Parser
	if m.Header, err = p.Start(b); err != nil {
		return m, err
	}
	questions, err := p.AllQuestions()
	if err != nil {
		return m, err
	}
	if len(questions) > 0 {
		m.Question = questions[len(questions)-1]
	}
	if m.Answers, err = m.section(&p, p.AnswerHeader); err != nil {
		return m, err
	}
	if _, err = m.section(&p, p.AuthorityHeader); err != nil {
		return m, err
	}
	_, err = m.section(&p, p.AdditionalHeader)
	return m, err
}

func (m *Message) section(p *dnsmessage.Parser, next func() (dnsmessage.ResourceHeader, error)) ([]Record, error) {
	var records []Record
	for {
		header, err := next()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return records, nil
		}
		if err != nil {
			return nil, err
		}
		data, err := read(p, header)
		if err != nil {
			return nil, err
		}
		if header.Type == dnsmessage.TypeOPT {
			m.EDNS = uint16(header.Class) // RFC 6891 §6.1.2
			continue
		}
		records = append(records, Record{header.Type, data})
	}
}

// read gives the data of a record in presentation form; unknown types as RFC 3597 §5 writes them, and what is too
// short for its type.
func read(p *dnsmessage.Parser, header dnsmessage.ResourceHeader) (string, error) {
	start := *p
	raw, err := p.UnknownResource() // goes on to the next record, and fails where this one is not all there
	if err != nil {
		return "", err
	}
	switch length := header.Length; {
	case header.Type == dnsmessage.TypeA && length == 4:
		r, err := start.AResource()
		return netip.AddrFrom4(r.A).String(), err
	case header.Type == dnsmessage.TypeAAAA && length == 16:
		r, err := start.AAAAResource()
		return netip.AddrFrom16(r.AAAA).String(), err
	case header.Type == dnsmessage.TypeNS:
		r, err := start.NSResource()
		return r.NS.String(), err
	case header.Type == dnsmessage.TypeCNAME:
		r, err := start.CNAMEResource()
		return r.CNAME.String(), err
	case header.Type == dnsmessage.TypePTR:
		r, err := start.PTRResource()
		return r.PTR.String(), err
	case header.Type == dnsmessage.TypeSRV && length >= 7:
		r, err := start.SRVResource()
		return fmt.Sprintf("%d %d %d %s", r.Priority, r.Weight, r.Port, r.Target), err
	case header.Type == dnsmessage.TypeTXT:
		r, err := start.TXTResource()
		return strings.Join(r.TXT, ""), err
	case header.Type == dnsmessage.TypeSOA:
		r, err := start.SOAResource()
		return fmt.Sprintf("%s %s %d %d %d %d %d", r.NS, r.MBox, r.Serial, r.Refresh, r.Retry, r.Expire, r.MinTTL), err
	}
	return fmt.Sprintf(`\# %d %x`, header.Length, raw.Data), nil
}

// Query packs a question that wants recursion.
//
// edns is the UDP payload size that is offered; 0 for a query without EDNS.
func Query(id uint16, name string, kind dnsmessage.Type, edns uint16) ([]byte, error) {
	packed, err := NewName(name)
	if err != nil {
		return nil, err
	}
	return Pack(dnsmessage.Message{
		Header:      dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions:   []dnsmessage.Question{{Name: packed, Type: kind, Class: dnsmessage.ClassINET}},
		Additionals: Offer(edns),
	})
}

// Offer is the OPT record for that UDP payload size; none for 0.
func Offer(edns uint16) []dnsmessage.Resource {
	if edns == 0 {
		return nil
	}
	opt := dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
	_ = opt.Header.SetEDNS0(int(edns), dnsmessage.RCodeSuccess, false) // it has no error to give
	return []dnsmessage.Resource{opt}
}

// Pack writes a message without compression, so that a packet shows whole names.
func Pack(m dnsmessage.Message) ([]byte, error) {
	b := dnsmessage.NewBuilder(nil, m.Header)
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	for _, question := range m.Questions {
		if err := b.Question(question); err != nil {
			return nil, err
		}
	}
	for _, section := range []struct {
		start   func() error
		records []dnsmessage.Resource
	}{{b.StartAnswers, m.Answers}, {b.StartAuthorities, m.Authorities}, {b.StartAdditionals, m.Additionals}} {
		if err := section.start(); err != nil {
			return nil, err
		}
		for _, record := range section.records {
			if err := write(&b, record); err != nil {
				return nil, err
			}
		}
	}
	return b.Finish()
}

// write writes records of the types that our own zone serves.
func write(b *dnsmessage.Builder, record dnsmessage.Resource) error {
	switch body := record.Body.(type) {
	case *dnsmessage.AResource:
		return b.AResource(record.Header, *body)
	case *dnsmessage.AAAAResource:
		return b.AAAAResource(record.Header, *body)
	case *dnsmessage.NSResource:
		return b.NSResource(record.Header, *body)
	case *dnsmessage.SOAResource:
		return b.SOAResource(record.Header, *body)
	case *dnsmessage.OPTResource:
		return b.OPTResource(record.Header, *body)
	}
	return fmt.Errorf("cannot write records of type %s", TypeName(record.Header.Type))
}
