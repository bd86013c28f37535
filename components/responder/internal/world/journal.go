package world

import (
	"encoding/json"
	"net/netip"
	"os"
	"sync"
	"time"

	"cnilab.dev/components/responder/internal/wire"
)

// Sighting is one line of the log.
type Sighting struct {
	T         string `json:"t"`
	Proto     string `json:"proto"` // tcp, udp, http, dns, icmp, icmp6
	Src       string `json:"src"`
	Sport     uint16 `json:"sport,omitempty"`
	Dst       string `json:"dst"`
	Dport     uint16 `json:"dport,omitempty"`
	Nonce     string `json:"nonce,omitempty"`
	Qname     string `json:"qname,omitempty"`
	Qtype     string `json:"qtype,omitempty"`
	Path      string `json:"path,omitempty"`
	TTL       *int   `json:"ttl,omitempty"`
	ICMPID    *int   `json:"icmp_id,omitempty"`
	ICMPSeq   *int   `json:"icmp_seq,omitempty"`
	Interface string `json:"interface,omitempty"`
}

// Journal appends sightings to a file, whole lines only.
type Journal struct {
	mu   sync.Mutex
	file *os.File
}

// Open opens the log for appending, and makes it when it is not there.
func Open(path string) (*Journal, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &Journal{file: file}, nil
}

// Add writes a line with the present time. A full disk loses the line, not the service.
func (j *Journal) Add(s Sighting) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s.T = time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	line, err := json.Marshal(s)
	if err != nil {
		return
	}
	_, _ = j.file.Write(append(line, '\n'))
}

func fromAnswer(a wire.Answer) Sighting {
	s := between(a.Proto, parse(a.Peer), parse(a.Local))
	s.Nonce, s.TTL = a.Nonce, a.TTL
	return s
}

func parse(s string) netip.AddrPort {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}
	}
	return a
}

func between(proto string, src, dst netip.AddrPort) Sighting {
	return Sighting{Proto: proto, Src: src.Addr().Unmap().String(), Sport: src.Port(), Dst: dst.Addr().Unmap().String(),
		Dport: dst.Port()}
}
