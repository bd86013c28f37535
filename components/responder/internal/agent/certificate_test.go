package agent

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestACertificateIsToldAndVerifiedWithThePlansAuthority(t *testing.T) {
	asked := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer server.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	plain := fmt.Sprintf("127.0.0.1:%d", responder(t))
	got := run(t, fmt.Sprintf(`{"deadline_ms":4000,"probes":[
		{"id":"good","kind":"exchange","proto":"tcp","dial":%[1]q,"tls":true,"ca":%[2]q,"server_name":"127.0.0.1"},
		{"id":"name","kind":"exchange","proto":"tcp","dial":%[1]q,"tls":true,"ca":%[2]q,"server_name":"10.96.0.1"},
		{"id":"told","kind":"exchange","proto":"tcp","dial":%[1]q,"tls":true},
		{"id":"plain","kind":"exchange","proto":"tcp","dial":%[3]q,"tls":true}]}`,
		server.Listener.Addr(), ca, plain))
	for id, trusted := range map[string]bool{"good": true, "name": false} {
		r := got[id]
		if r.Outcome != okay || r.Trusted == nil || *r.Trusted != trusted || len(r.Certificate) != 64 || r.Issuer == "" {
			t.Errorf("%s: %+v", id, r)
		}
	}
	if r := got["told"]; r.Trusted != nil || r.Certificate != got["good"].Certificate {
		t.Errorf("told: %+v", r)
	}
	if r := got["plain"]; r.Certificate != "" || (r.Outcome == okay && r.Detail == "") {
		t.Errorf("plain: %+v", r)
	}
	if asked != 0 {
		t.Errorf("%d requests were sent", asked)
	}
}

func TestAConnectionOverLoopbackTakesOneSyn(t *testing.T) {
	got := run(t, fmt.Sprintf(`{"deadline_ms":4000,"probes":[
		{"id":"0","kind":"exchange","proto":"tcp","dial":"127.0.0.1:%d","one_syn":true}]}`, responder(t)))
	if r := got["0"]; r.Outcome != okay || r.Resent == nil || *r.Resent != 0 || len(r.Tries) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestAConnectionThatTookTwoSynsIsTriedAgain(t *testing.T) {
	two := 1
	last := Result{Outcome: okay, Resent: &two}
	if ended(Probe{Expect: okay, OneSyn: true}, last) || !ended(Probe{Expect: okay}, last) {
		t.Error("only who asks for one SYN minds two")
	}
}
