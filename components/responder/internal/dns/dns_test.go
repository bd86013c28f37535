package dns

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

func TestMessageSurvivesPackingAndParsing(t *testing.T) {
	want := Message{
		ID: 7, Response: true, Authoritative: true, Recursion: true, Available: true, Rcode: NXDomain, EDNS: 1232,
		Question: Question{"www.outside.test.", TypeA},
		Answers: []Record{
			{"www.outside.test.", TypeA, 5, "8.8.8.8"},
			{"www.outside.test.", TypeAAAA, 5, "2001:db8::1"},
			{"a.test.", TypeCNAME, 5, "b.test."},
			{"a.test.", TypeTXT, 5, "1.1.0"},
		},
		Authority: []Record{{"outside.test.", TypeSOA, 5, "ns.outside.test. hostmaster.outside.test. 1 3600 600 86400 5"}},
	}
	packed, err := want.Pack()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(packed)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v (%v)\nwant %+v", got, err, want)
	}
}

func TestCompressedSrvAnswerIsRead(t *testing.T) {
	// _http._tcp.a.test SRV, answer name and target by pointers, as CoreDNS writes them.
	b := "123485800001000100000000" + "055f68747470045f7463700161047465737400" + "00210001" +
		"c00c" + "00210001" + "0000001e" + "0008" + "0000" + "0064" + "1f90" + "c017"
	raw, err := hex.DecodeString(b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	want := []Record{{"_http._tcp.a.test.", TypeSRV, 30, "0 100 8080 a.test."}}
	if !reflect.DeepEqual(got.Answers, want) {
		t.Fatalf("got %+v", got.Answers)
	}
}

func TestPointerLoopsEnd(t *testing.T) {
	raw := append(make([]byte, 12), 0xc0, 12, 0, 1, 0, 1)
	raw[5] = 1
	if _, err := Parse(raw); err == nil {
		t.Error("a name that points at itself was read")
	}
}

func TestLabelsAndNamesHaveLimits(t *testing.T) {
	for _, name := range []string{strings.Repeat("a", 64) + ".test.", strings.Repeat("abcdefg.", 32), "a..test."} {
		if _, err := (Message{Question: Question{name, TypeA}}).Pack(); err == nil {
			t.Errorf("%.20q… was packed", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	packed, err := (Message{Question: Question{"www.outside.test.", TypeA}, EDNS: 1232,
		Answers: []Record{{"a.", TypeTXT, 1, "x"}}}).Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add(packed[:20])
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = Parse(b) // must neither panic nor hang
	})
}
