package world

import (
	"strings"

	"cnilab.dev/components/responder/internal/dns"
)

// Zone is the part of the name space that the outside world owns.
type Zone struct {
	Name    string // absolute: outside.test.
	Address string // IPv4 address of every name in it
}

const zoneTTL = 5

// Answer answers a query. Names outside the zone do not exist: the lab's world ends there. That also answers the
// health checks of forwarders, which ask for the root.
func (z Zone) Answer(q dns.Message) dns.Message {
	name := strings.ToLower(q.Question.Name)
	a := dns.Message{ID: q.ID, Response: true, Recursion: q.Recursion, Available: true, Question: q.Question}
	if q.EDNS > 0 {
		a.EDNS = 1232
	}
	soa := dns.Record{Name: ".", Type: dns.TypeSOA, TTL: zoneTTL, Data: "ns." + z.Name + " hostmaster." + z.Name +
		" 1 3600 600 86400 5"}
	if name == z.Name || strings.HasSuffix(name, "."+z.Name) {
		soa.Name, a.Authoritative = z.Name, true
	}
	record := func(kind uint16, data string) {
		a.Answers = append(a.Answers, dns.Record{Name: q.Question.Name, Type: kind, TTL: zoneTTL, Data: data})
	}
	switch apex := name == z.Name; {
	case z.has(name) && q.Question.Type == dns.TypeA:
		record(dns.TypeA, z.Address)
	case apex && q.Question.Type == dns.TypeSOA:
		record(dns.TypeSOA, soa.Data)
	case apex && q.Question.Type == dns.TypeNS:
		record(dns.TypeNS, "ns."+z.Name)
	case z.has(name), apex, name == ".", name == "probe."+z.Name:
		a.Authority = []dns.Record{soa} // the name exists, the type does not (RFC 2308 §2.2)
	default:
		a.Rcode, a.Authority = dns.NXDomain, []dns.Record{soa}
	}
	return a
}

// has tells whether a name has an address: www, ns, and one label of any kind below probe.
func (z Zone) has(name string) bool {
	host, inside := strings.CutSuffix(name, "."+z.Name)
	if !inside {
		return false
	}
	label, random := strings.CutSuffix(host, ".probe")
	return host == "www" || host == "ns" || random && label != "" && !strings.Contains(label, ".")
}
