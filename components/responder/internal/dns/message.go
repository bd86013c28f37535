// Package dns is a small codec of DNS messages (RFC 1035) with the records that labs ask for.
package dns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Types and codes of RFC 1035, 3596, 2782, 6891.
const (
	TypeA     = 1
	TypeNS    = 2
	TypeCNAME = 5
	TypeSOA   = 6
	TypePTR   = 12
	TypeTXT   = 16
	TypeAAAA  = 28
	TypeSRV   = 33
	TypeOPT   = 41

	NoError  = 0
	FormErr  = 1
	ServFail = 2
	NXDomain = 3
	NotImpl  = 4
	Refused  = 5

	classIN = 1
)

var typeNames = map[string]uint16{
	"A": TypeA, "NS": TypeNS, "CNAME": TypeCNAME, "SOA": TypeSOA, "PTR": TypePTR, "TXT": TypeTXT,
	"AAAA": TypeAAAA, "SRV": TypeSRV, "ANY": 255,
}

var rcodeNames = []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}

// ErrMessage is the cause of every failure to read a message.
var ErrMessage = errors.New("malformed DNS message")

// TypeByName finds a type's number.
func TypeByName(name string) (uint16, error) {
	if t, ok := typeNames[strings.ToUpper(name)]; ok {
		return t, nil
	}
	return 0, fmt.Errorf("unknown query type %q", name)
}

// TypeName is the usual name of a type, or TYPEn (RFC 3597).
func TypeName(t uint16) string {
	for name, number := range typeNames {
		if number == t {
			return name
		}
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// RcodeName is the usual name of a response code.
func RcodeName(code int) string {
	if code < len(rcodeNames) {
		return rcodeNames[code]
	}
	return "RCODE" + strconv.Itoa(code)
}

// Message is a query or an answer. Only what labs use is kept.
type Message struct {
	ID            uint16
	Response      bool
	Authoritative bool
	Truncated     bool
	Recursion     bool // desired
	Available     bool // recursion available
	Rcode         int
	Question      Question
	Answers       []Record
	Authority     []Record
	EDNS          uint16 // UDP payload size of the OPT record; 0 for none
}

// Question is what is asked.
type Question struct {
	Name string // absolute, with trailing dot, as it came
	Type uint16
}

// Record is a resource record with its data in presentation form.
type Record struct {
	Name string
	Type uint16
	TTL  uint32
	Data string
}

// Pack writes a message without compression.
func (m Message) Pack() ([]byte, error) {
	var flags uint16
	for bit, set := range map[uint16]bool{
		1 << 15: m.Response, 1 << 10: m.Authoritative, 1 << 9: m.Truncated, 1 << 8: m.Recursion, 1 << 7: m.Available,
	} {
		if set {
			flags |= bit
		}
	}
	flags |= uint16(m.Rcode & 15)
	additional := uint16(0)
	if m.EDNS > 0 {
		additional = 1
	}
	b := make([]byte, 0, 512)
	for _, n := range []uint16{m.ID, flags, 1, uint16(len(m.Answers)), uint16(len(m.Authority)), additional} {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	b, err := appendName(b, m.Question.Name)
	if err != nil {
		return nil, err
	}
	b = binary.BigEndian.AppendUint16(b, m.Question.Type)
	b = binary.BigEndian.AppendUint16(b, classIN)
	for _, record := range append(append([]Record{}, m.Answers...), m.Authority...) {
		if b, err = appendRecord(b, record); err != nil {
			return nil, err
		}
	}
	if m.EDNS > 0 {
		b = append(b, 0) // root
		b = binary.BigEndian.AppendUint16(b, TypeOPT)
		b = binary.BigEndian.AppendUint16(b, m.EDNS)
		b = append(b, 0, 0, 0, 0, 0, 0)
	}
	return b, nil
}

func appendName(b []byte, name string) ([]byte, error) {
	name = strings.TrimSuffix(name, ".")
	if len(name) > 253 {
		return nil, fmt.Errorf("name of %d characters: at most 253 (RFC 1035 §2.3.4)", len(name))
	}
	if name != "" {
		for _, label := range strings.Split(name, ".") {
			if label == "" || len(label) > 63 {
				return nil, fmt.Errorf("label %q: 1 to 63 characters (RFC 1035 §2.3.4)", label)
			}
			b = append(b, byte(len(label)))
			b = append(b, label...)
		}
	}
	return append(b, 0), nil
}

func appendRecord(b []byte, r Record) ([]byte, error) {
	b, err := appendName(b, r.Name)
	if err != nil {
		return nil, err
	}
	b = binary.BigEndian.AppendUint16(b, r.Type)
	b = binary.BigEndian.AppendUint16(b, classIN)
	b = binary.BigEndian.AppendUint32(b, r.TTL)
	data, err := packData(r)
	if err != nil {
		return nil, err
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...), nil
}

// packData writes the data of the record types that our own zone serves.
func packData(r Record) ([]byte, error) {
	switch r.Type {
	case TypeA, TypeAAAA:
		addr, err := netip.ParseAddr(r.Data)
		return addr.AsSlice(), err
	case TypeNS, TypeCNAME, TypePTR:
		return appendName(nil, r.Data)
	case TypeTXT:
		if len(r.Data) > 255 {
			return nil, fmt.Errorf("TXT of %d bytes: at most 255", len(r.Data))
		}
		return append([]byte{byte(len(r.Data))}, r.Data...), nil
	case TypeSOA:
		var primary, mailbox string
		var numbers [5]uint32
		if _, err := fmt.Sscan(r.Data, &primary, &mailbox, &numbers[0], &numbers[1], &numbers[2], &numbers[3],
			&numbers[4]); err != nil {
			return nil, err
		}
		b, err := appendName(nil, primary)
		if err != nil {
			return nil, err
		}
		if b, err = appendName(b, mailbox); err != nil {
			return nil, err
		}
		for _, n := range numbers {
			b = binary.BigEndian.AppendUint32(b, n)
		}
		return b, nil
	}
	return nil, fmt.Errorf("cannot write records of type %s", TypeName(r.Type))
}
