package dns

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Parse reads a message.
func Parse(b []byte) (Message, error) {
	if len(b) < 12 {
		return Message{}, ErrMessage
	}
	flags := binary.BigEndian.Uint16(b[2:])
	m := Message{
		ID:            binary.BigEndian.Uint16(b),
		Response:      flags&(1<<15) != 0,
		Authoritative: flags&(1<<10) != 0,
		Truncated:     flags&(1<<9) != 0,
		Recursion:     flags&(1<<8) != 0,
		Available:     flags&(1<<7) != 0,
		Rcode:         int(flags & 15),
	}
	offset := 12
	for range binary.BigEndian.Uint16(b[4:]) {
		name, next, err := readName(b, offset)
		if err != nil || next+4 > len(b) {
			return m, ErrMessage
		}
		m.Question = Question{name, binary.BigEndian.Uint16(b[next:])}
		offset = next + 4
	}
	for section, into := range []*[]Record{&m.Answers, &m.Authority, nil} {
		for range binary.BigEndian.Uint16(b[6+2*section:]) {
			record, class, next, err := readRecord(b, offset)
			if err != nil {
				return m, err
			}
			offset = next
			switch {
			case record.Type == TypeOPT:
				m.EDNS = class
			case into != nil:
				*into = append(*into, record)
			}
		}
	}
	return m, nil
}

// readName follows compression pointers, each of which must point further back, so that no loop is possible.
func readName(b []byte, offset int) (name string, next int, err error) {
	var labels []string
	next, limit := -1, offset
	for {
		if offset >= len(b) {
			return "", 0, ErrMessage
		}
		n := int(b[offset])
		switch {
		case n == 0:
			if next < 0 {
				next = offset + 1
			}
			return strings.Join(labels, ".") + ".", next, nil
		case n&0xc0 == 0xc0:
			if offset+1 >= len(b) {
				return "", 0, ErrMessage
			}
			if next < 0 {
				next = offset + 2
			}
			offset = (n&0x3f)<<8 | int(b[offset+1])
			if offset >= limit {
				return "", 0, ErrMessage
			}
			limit = offset
		case n > 63 || offset+1+n > len(b):
			return "", 0, ErrMessage
		default:
			labels = append(labels, string(b[offset+1:offset+1+n]))
			offset += 1 + n
		}
	}
}

func readRecord(b []byte, offset int) (r Record, class uint16, next int, err error) {
	name, at, err := readName(b, offset)
	if err != nil || at+10 > len(b) {
		return r, 0, 0, ErrMessage
	}
	r = Record{Name: name, Type: binary.BigEndian.Uint16(b[at:]), TTL: binary.BigEndian.Uint32(b[at+4:])}
	class = binary.BigEndian.Uint16(b[at+2:])
	start := at + 10
	next = start + int(binary.BigEndian.Uint16(b[at+8:]))
	if next > len(b) {
		return r, 0, 0, ErrMessage
	}
	r.Data, err = readData(b, start, next, r.Type)
	return r, class, next, err
}

// readData gives the data of a record in presentation form; unknown types as RFC 3597 §5 writes them.
func readData(b []byte, start, end int, kind uint16) (string, error) {
	data := b[start:end]
	switch {
	case kind == TypeA && len(data) == 4, kind == TypeAAAA && len(data) == 16:
		addr, _ := netip.AddrFromSlice(data)
		return addr.String(), nil
	case kind == TypeNS, kind == TypeCNAME, kind == TypePTR:
		name, _, err := readName(b, start)
		return name, err
	case kind == TypeSRV && len(data) >= 7:
		name, _, err := readName(b, start+6)
		return fmt.Sprintf("%d %d %d %s", binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:]),
			binary.BigEndian.Uint16(data[4:]), name), err
	case kind == TypeTXT:
		return readText(data)
	case kind == TypeSOA:
		return readSOA(b, start, end)
	case kind == TypeOPT:
		return "", nil
	}
	return fmt.Sprintf(`\# %d %x`, len(data), data), nil
}

func readText(data []byte) (string, error) {
	var text strings.Builder
	for len(data) > 0 {
		n := int(data[0])
		if 1+n > len(data) {
			return "", ErrMessage
		}
		text.Write(data[1 : 1+n])
		data = data[1+n:]
	}
	return text.String(), nil
}

func readSOA(b []byte, start, end int) (string, error) {
	primary, at, err := readName(b, start)
	if err != nil {
		return "", err
	}
	mailbox, at, err := readName(b, at)
	if err != nil {
		return "", err
	}
	if at+20 > end {
		return "", ErrMessage
	}
	words := []string{primary, mailbox}
	for i := range 5 {
		words = append(words, strconv.FormatUint(uint64(binary.BigEndian.Uint32(b[at+4*i:])), 10))
	}
	return strings.Join(words, " "), nil
}
