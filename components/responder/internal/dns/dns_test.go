package dns

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

var name = dnsmessage.MustNewName

func record(owner string, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: name(owner), Class: dnsmessage.ClassINET, TTL: 5}, Body: body,
	}
}

// all is an answer with a record of every type that is written down, with compressed names, as servers write them.
func all(t testing.TB) []byte {
	t.Helper()
	soa := &dnsmessage.SOAResource{
		NS: name("ns.outside.test."), MBox: name("hostmaster.outside.test."), Serial: 1, Refresh: 3600, Retry: 600,
		Expire: 86400, MinTTL: 5,
	}
	m := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: 7, Response: true, Authoritative: true, RecursionDesired: true, RecursionAvailable: true,
			RCode: dnsmessage.RCodeNameError,
		},
		Questions: []dnsmessage.Question{{Name: name("WWW.Outside.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		Answers: []dnsmessage.Resource{
			record("WWW.Outside.test.", &dnsmessage.CNAMEResource{CNAME: name("b.Outside.test.")}),
			record("b.Outside.test.", &dnsmessage.AResource{A: [4]byte{8, 8, 8, 8}}),
			record("b.Outside.test.", &dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 0xd, 0xb8, 15: 1}}),
			record("b.Outside.test.", &dnsmessage.TXTResource{TXT: []string{"1.1", "", ".0"}}),
			record("8.8.8.8.in-addr.arpa.", &dnsmessage.PTRResource{PTR: name("www.outside.test.")}),
			record("outside.test.", &dnsmessage.NSResource{NS: name("ns.outside.test.")}),
			record("_http._tcp.a.test.", &dnsmessage.SRVResource{Weight: 100, Port: 8080, Target: name("a.test.")}),
			record("outside.test.", soa),
			record("outside.test.", &dnsmessage.UnknownResource{Type: 99, Data: []byte{1, 0xab}}),
		},
		Authorities: []dnsmessage.Resource{record("outside.test.", soa)},
		Additionals: append(Offer(1232), record("ns.outside.test.", &dnsmessage.AResource{})),
	}
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func TestAnswersAreWrittenDownInPresentationForm(t *testing.T) {
	got, err := Parse(all(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []Record{
		{dnsmessage.TypeCNAME, "b.Outside.test."},
		{dnsmessage.TypeA, "8.8.8.8"},
		{dnsmessage.TypeAAAA, "2001:db8::1"},
		{dnsmessage.TypeTXT, "1.1.0"},
		{dnsmessage.TypePTR, "www.outside.test."},
		{dnsmessage.TypeNS, "ns.outside.test."},
		{dnsmessage.TypeSRV, "0 100 8080 a.test."},
		{dnsmessage.TypeSOA, "ns.outside.test. hostmaster.outside.test. 1 3600 600 86400 5"},
		{99, `\# 2 01ab`},
	}
	if !reflect.DeepEqual(got.Answers, want) {
		t.Errorf("got %+v", got.Answers)
	}
	if got.ID != 7 || !got.Response || !got.Authoritative || got.Truncated || !got.RecursionDesired ||
		!got.RecursionAvailable || got.RCode != dnsmessage.RCodeNameError {
		t.Errorf("got %+v", got.Header)
	}
	if got.Question.Name.String() != "WWW.Outside.test." || got.Question.Type != dnsmessage.TypeA || got.EDNS != 1232 {
		t.Errorf("got %v, EDNS %d", got.Question, got.EDNS)
	}
}

func TestWhatBreaksOffIsMalformedWhereverItDoes(t *testing.T) {
	whole := all(t)
	for n := range whole {
		if _, err := Parse(whole[:n]); !errors.Is(err, ErrMessage) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	if _, err := Parse(append(whole, 1, 2, 3)); err != nil {
		t.Errorf("what follows a message is not its own: %v", err)
	}
}

// answer is a message with one record as its answer: type, length and data in hexadecimal.
func answer(t *testing.T, rest string) []byte {
	t.Helper()
	// a.b. IN A?, and an answer whose owner points at the question
	raw, err := hex.DecodeString("123485800001000100000000" + "0161016200" + "00010001" + "c00c" + rest)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestCompressedNamesAreFollowed(t *testing.T) {
	// Target of an SRV record by a pointer, as CoreDNS writes it.
	got, err := Parse(answer(t, "0021"+"0001"+"0000001e"+"0008"+"0000"+"0064"+"1f90"+"c00e"))
	if err != nil || !reflect.DeepEqual(got.Answers, []Record{{dnsmessage.TypeSRV, "0 100 8080 b."}}) {
		t.Errorf("got %+v, %v", got.Answers, err)
	}
}

func TestDataOfAnotherLengthIsShownAsItIs(t *testing.T) {
	for rest, want := range map[string]Record{
		"0001" + "0001" + "00000005" + "0003" + "0a0000":     {dnsmessage.TypeA, `\# 3 0a0000`},
		"0001" + "0001" + "00000005" + "0005" + "0a00000102": {dnsmessage.TypeA, `\# 5 0a00000102`},
		"001c" + "0001" + "00000005" + "0004" + "0a000001":   {dnsmessage.TypeAAAA, `\# 4 0a000001`},
		"0021" + "0001" + "00000005" + "0002" + "0000":       {dnsmessage.TypeSRV, `\# 2 0000`},
		"0010" + "0001" + "00000005" + "0000":                {dnsmessage.TypeTXT, ""},
	} {
		got, err := Parse(answer(t, rest))
		if err != nil || !reflect.DeepEqual(got.Answers, []Record{want}) {
			t.Errorf("%s: %+v, %v", rest, got.Answers, err)
		}
	}
}

func TestMalformedAnswersAreToldFromAnswers(t *testing.T) {
	for what, rest := range map[string]string{
		"data that is longer than the message": "0001" + "0001" + "00000005" + "0004" + "0a00",
		"a name that points at itself":         "0005" + "0001" + "00000005" + "0002" + "c021",
		"two names that point at each other":   "0005" + "0001" + "00000005" + "0004" + "c023c021",
		"a pointer behind the end":             "0005" + "0001" + "00000005" + "0002" + "cfff",
		"a label of a reserved kind":           "0005" + "0001" + "00000005" + "0003" + "406100",
		"text that is longer than its record":  "0010" + "0001" + "00000005" + "0002" + "0561" + "6162636465",
		"an SOA record without its numbers":    "0006" + "0001" + "00000005" + "0004" + "c00cc00c",
	} {
		if got, err := Parse(answer(t, rest)); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %+v, %v", what, got.Answers, err)
		}
	}
}

func TestPointerLoopsEnd(t *testing.T) {
	raw := append(make([]byte, 12), 0xc0, 12, 0, 1, 0, 1)
	raw[5] = 1
	if _, err := Parse(raw); err == nil {
		t.Error("a name that points at itself was read")
	}
}

func TestOptionsOfEDNSDoNotCount(t *testing.T) {
	for _, options := range []string{"0000", "0004" + "000a0000", "0003" + "ffffff"} {
		query, err := Query(1, "a.", dnsmessage.TypeA, 1400)
		if err != nil {
			t.Fatal(err)
		}
		data, err := hex.DecodeString(options)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(append(query[:len(query)-2], data...))
		if err != nil || got.EDNS != 1400 {
			t.Errorf("%s: %d, %v", options, got.EDNS, err)
		}
	}
}

func TestQueriesOnTheWire(t *testing.T) {
	const head, question = "0007" + "0100" + "0001" + "0000" + "0000", "03577777" + "0474657374" + "00" + "001c" + "0001"
	for edns, want := range map[uint16]string{
		0:    head + "0000" + question,
		1232: head + "0001" + question + "00" + "0029" + "04d0" + "00000000" + "0000",
	} {
		got, err := Query(7, "Www.test.", dnsmessage.TypeAAAA, edns)
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("EDNS %d:\ngot  %x (%v)\nwant %s", edns, got, err, want)
		}
	}
}

func TestLabelsAndNamesHaveLimits(t *testing.T) {
	for bad, reason := range map[string]string{
		strings.Repeat("a", 64) + ".test.": "1 to 63 characters",
		strings.Repeat("abcdefg.", 32):     "name of 255 characters: at most 253",
		"a..test.":                         `label "": 1 to 63 characters`,
		"..":                               `label "": 1 to 63 characters`,
	} {
		if _, err := Query(1, bad, dnsmessage.TypeA, 0); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%.20q…: %v", bad, err)
		}
	}
	longest := strings.Repeat(strings.Repeat("a", 62)+".", 4) + "b."
	for _, good := range []string{".", "", longest[len(longest)-254:], strings.Repeat("a", 63) + "."} {
		if _, err := Query(1, good, dnsmessage.TypeA, 0); err != nil {
			t.Errorf("%.20q… of %d: %v", good, len(good), err)
		}
	}
}

func TestOnlyRecordsOfTheZoneAreWritten(t *testing.T) {
	m := dnsmessage.Message{Answers: []dnsmessage.Resource{record("a.", &dnsmessage.MXResource{MX: name("b.")})}}
	if _, err := Pack(m); err == nil {
		t.Error("a mail exchanger was packed")
	}
}

func TestTypesAndCodesHaveTheirUsualNames(t *testing.T) {
	for n, want := range map[dnsmessage.Type]string{1: "A", 33: "SRV", 255: "ANY", 15: "TYPE15", 41: "TYPE41"} {
		if got := TypeName(n); got != want {
			t.Errorf("type %d: %s", n, got)
		}
	}
	if got, err := TypeByName("aaaa"); err != nil || got != dnsmessage.TypeAAAA {
		t.Errorf("aaaa: %d, %v", got, err)
	}
	for n, want := range map[dnsmessage.RCode]string{0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED", 9: "RCODE9"} {
		if got := RcodeName(n); got != want {
			t.Errorf("code %d: %s", n, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	packed := all(f)
	f.Add(packed)
	f.Add(packed[:20])
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = Parse(b) // must neither panic nor hang
	})
}
