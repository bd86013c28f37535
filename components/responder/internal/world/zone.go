package world

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"cnilab.dev/components/responder/internal/dns"
)

// Zone is the part of the name space that the outside world owns.
type Zone struct {
	name                  string // absolute: outside.test.
	apex, server, mailbox dnsmessage.Name
	address               netip.Addr // of every name in it
	address6              netip.Addr // likewise, while this machine has it
	has6                  func(netip.Addr) bool
}

const (
	zoneTTL  = 5
	zoneEDNS = 1232 // the UDP payload size that the DNS Flag Day of 2020 recommends
)

// NewZone is a zone by its name and the addresses of every name in it. Names have the IPv6 address only while this
// machine has it: a world without IPv6 has no AAAA records, which no resolver could do anything with.
func NewZone(name, address, address6 string) (Zone, error) {
	z := Zone{name: strings.Trim(name, ".") + ".", has6: onThisMachine}
	var err error
	if z.address, err = netip.ParseAddr(address); err != nil || !z.address.Is4() {
		return z, fmt.Errorf("zone %s: %q is no IPv4 address", z.name, address)
	}
	if z.address6, err = netip.ParseAddr(address6); err != nil || !z.address6.Is6() || z.address6.Is4In6() {
		return z, fmt.Errorf("zone %s: %q is no IPv6 address", z.name, address6)
	}
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
		answer(&dnsmessage.AResource{A: z.address.As4()})
	case z.has(name) && q.Question.Type == dnsmessage.TypeAAAA && z.has6(z.address6):
		answer(&dnsmessage.AAAAResource{AAAA: z.address6.As16()})
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

// onThisMachine tells whether one of our interfaces has an address. It is asked again for every query: a router's
// services begin before its links are plugged in.
func onThisMachine(address netip.Addr) bool {
	found, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(found, func(one net.Addr) bool {
		prefix, err := netip.ParsePrefix(one.String())
		return err == nil && prefix.Addr() == address
	})
}
