package world

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"cnilab.dev/components/responder/internal/dns"
)

// Zone is the part of the name space that the outside world owns.
type Zone struct {
	name                  string // absolute: outside.test.
	apex, server, mailbox dnsmessage.Name
	address               [4]byte // of every name in it
}

const (
	zoneTTL  = 5
	zoneEDNS = 1232 // the UDP payload size that the DNS Flag Day of 2020 recommends
)

// NewZone is a zone by its name and the IPv4 address of every name in it.
func NewZone(name, address string) (Zone, error) {
	z := Zone{name: strings.Trim(name, ".") + "."}
	addr, err := netip.ParseAddr(address)
	if err != nil || !addr.Is4() {
		return z, fmt.Errorf("zone %s: %q is no IPv4 address", z.name, address)
	}
	z.address = addr.As4()
	for prefix, into := range map[string]*dnsmessage.Name{"": &z.apex, "ns.": &z.server, "hostmaster.": &z.mailbox} {
		if *into, err = dns.NewName(prefix + z.name); err != nil {
			return z, fmt.Errorf("zone %s: %w", z.name, err)
		}
	}
	return z, nil
}

// Answer answers a query. Names outside the zone do not exist: the lab's world ends there. That also answers the
// health checks of forwarders, which ask for the root.
func (z Zone) Answer(q dns.Message) dnsmessage.Message {
	name := strings.ToLower(q.Question.Name.String())
	a := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: q.ID, Response: true, RecursionDesired: q.RecursionDesired, RecursionAvailable: true,
		},
		Questions: []dnsmessage.Question{
			{Name: q.Question.Name, Type: q.Question.Type, Class: dnsmessage.ClassINET},
		},
	}
	if q.EDNS > 0 {
		a.Additionals = dns.Offer(zoneEDNS)
	}
	owner := dnsmessage.MustNewName(".")
	if name == z.name || strings.HasSuffix(name, "."+z.name) {
		owner, a.Authoritative = z.apex, true
	}
	answer := func(body dnsmessage.ResourceBody) { a.Answers = []dnsmessage.Resource{record(q.Question.Name, body)} }
	soa := &dnsmessage.SOAResource{
		NS: z.server, MBox: z.mailbox, Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, MinTTL: zoneTTL,
	}
	denial := []dnsmessage.Resource{record(owner, soa)}
	switch apex := name == z.name; {
	case z.has(name) && q.Question.Type == dnsmessage.TypeA:
		answer(&dnsmessage.AResource{A: z.address})
	case apex && q.Question.Type == dnsmessage.TypeSOA:
		answer(soa)
	case apex && q.Question.Type == dnsmessage.TypeNS:
		answer(&dnsmessage.NSResource{NS: z.server})
	case z.has(name), apex, name == ".", name == "probe."+z.name:
		a.Authorities = denial // the name exists, the type does not (RFC 2308 §2.2)
	default:
		a.RCode, a.Authorities = dnsmessage.RCodeNameError, denial
	}
	return a
}

// record is one of the zone; its type is that of its body.
func record(name dnsmessage.Name, body dnsmessage.ResourceBody) dnsmessage.Resource {
	header := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: zoneTTL}
	return dnsmessage.Resource{Header: header, Body: body}
}

// has tells whether a name has an address: www, ns, and one label of any kind below probe.
func (z Zone) has(name string) bool {
	host, inside := strings.CutSuffix(name, "."+z.name)
	if !inside {
		return false
	}
	label, random := strings.CutSuffix(host, ".probe")
	return host == "www" || host == "ns" || random && label != "" && !strings.Contains(label, ".")
}
