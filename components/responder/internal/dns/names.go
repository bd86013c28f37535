package dns

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

var typeNames = map[string]dnsmessage.Type{
	"A": dnsmessage.TypeA, "NS": dnsmessage.TypeNS, "CNAME": dnsmessage.TypeCNAME, "SOA": dnsmessage.TypeSOA,
	"PTR": dnsmessage.TypePTR, "TXT": dnsmessage.TypeTXT, "AAAA": dnsmessage.TypeAAAA, "SRV": dnsmessage.TypeSRV,
	"ANY": dnsmessage.TypeALL,
}

// Codes of RFC 1035 §4.1.1, as dig writes them.
var rcodeNames = []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}

// TypeByName finds a type's number.
func TypeByName(name string) (dnsmessage.Type, error) {
	if t, ok := typeNames[strings.ToUpper(name)]; ok {
		return t, nil
	}
	return 0, fmt.Errorf("unknown query type %q", name)
}

// TypeName is the usual name of a type, or TYPEn (RFC 3597).
func TypeName(t dnsmessage.Type) string {
	for name, number := range typeNames {
		if number == t {
			return name
		}
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// RcodeName is the usual name of a response code.
func RcodeName(code dnsmessage.RCode) string {
	if int(code) < len(rcodeNames) {
		return rcodeNames[code]
	}
	return "RCODE" + strconv.Itoa(int(code))
}

// NewName is an absolute name as it is written on the wire; the error says which limit it breaks.
func NewName(name string) (dnsmessage.Name, error) {
	bare := strings.TrimSuffix(name, ".")
	if len(bare) > 253 {
		return dnsmessage.Name{}, fmt.Errorf("name of %d characters: at most 253 (RFC 1035 §2.3.4)", len(bare))
	}
	for _, label := range strings.Split(bare, ".") {
		if bare != "" && (label == "" || len(label) > 63) {
			return dnsmessage.Name{}, fmt.Errorf("label %q: 1 to 63 characters (RFC 1035 §2.3.4)", label)
		}
	}
	return dnsmessage.NewName(bare + ".")
}
