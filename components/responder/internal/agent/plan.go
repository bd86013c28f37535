package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Plan is the agent's input.
type Plan struct {
	DeadlineMs int     `json:"deadline_ms"` // for the whole plan, tries included
	Retries    int     `json:"retries"`     // further attempts at a probe that did not end as expected
	Lasting    bool    `json:"lasting"`     // streams and held connections last until the input ends, or the deadline
	Probes     []Probe `json:"probes"`
}

// Probe is one thing to try. Which fields count depends on the kind.
type Probe struct {
	ID         string `json:"id"`
	Kind       string `json:"kind"`        // exchange, rung, bind, lookup, burst, collect, churn, stream, hold, rounds, flow, stray
	Proto      string `json:"proto"`       // tcp, udp, icmp; the family is that of the address
	Dial       string `json:"dial"`        // address and port; address alone for icmp
	Size       int    `json:"size"`        // payload bytes; of a rung: bytes of the IP packet
	Heed       bool   `json:"heed"`        // a rung no larger than the route's MTU
	SourcePort int    `json:"source_port"` // 0: the kernel's choice
	Connect    bool   `json:"connect"`     // TCP only: connecting is enough, nothing is asked
	OneSyn     bool   `json:"one_syn"`     // TCP only: a connection that took more than one SYN is tried again
	TLS        bool   `json:"tls"`         // TCP only: ask for the server's certificate, and nothing else
	CA         string `json:"ca"`          // of a certificate: PEM of the authorities; empty: it is not verified
	ServerName string `json:"server_name"` // of a certificate: the name or address that it must be for
	Extension  string `json:"extension"`   // UDP over IPv6: hop-by-hop or destination, a header of options that do nothing
	Expect     string `json:"expect"`      // outcome that ends the tries; empty for ok
	Count      int    `json:"count"`       // datagrams of a burst; questions and answers of rounds
	PaceUs     int    `json:"pace_us"`     // of a stream: microseconds from one datagram to the next
	ForMs      int    `json:"for_ms"`      // of a flow and of strays: how long they last; of a held connection: how long it is idle
	Burst      string `json:"burst"`       // name of a burst
	Ask        bool   `json:"ask"`         // the sender of a burst asks the receiver for the count
	Sequential int    `json:"sequential"`
	Parallel   int    `json:"parallel"`
	Name       string `json:"name"` // of a lookup
	Qtype      string `json:"qtype"`
	Transport  string `json:"transport"` // udp, tcp, libc
	Server     string `json:"server"`
	EDNS       uint16 `json:"edns"`
	Times      int    `json:"times"` // UDP only: ask so many times, once each, from a new socket every time
	Apart      bool   `json:"apart"` // of several types asked so, each from a socket of its own
}

// Try is one attempt.
type Try struct {
	TMs     float64 `json:"t_ms"` // since the start of the plan
	Ms      float64 `json:"ms"`
	Outcome string  `json:"outcome"`
	Errno   int     `json:"errno"`
}

// Result is one line of the agent's output: the last attempt, and all attempts in short.
type Result struct {
	ID      string  `json:"id"`
	Kind    string  `json:"kind"`
	Outcome string  `json:"outcome"`
	Errno   int     `json:"errno"`
	Detail  string  `json:"detail,omitempty"`
	Ms      float64 `json:"ms"`
	Tries   []Try   `json:"tries,omitempty"`

	// exchange, rung
	Source   string   `json:"source,omitempty"`
	Token    string   `json:"token,omitempty"`
	Peer     string   `json:"peer,omitempty"`
	Local    string   `json:"local,omitempty"`
	TTL      *int     `json:"ttl,omitempty"`
	MSS      *int     `json:"mss,omitempty"`
	ReplyTTL *int     `json:"reply_ttl,omitempty"`
	RTTUs    *int64   `json:"rtt_us,omitempty"`
	Sent     int      `json:"sent,omitempty"`
	Received int      `json:"received,omitempty"`
	Intact   *bool    `json:"intact,omitempty"`
	Nonce    string   `json:"nonce,omitempty"`
	StallMs  *float64 `json:"stall_ms,omitempty"`
	Resent   *int     `json:"syn_resent,omitempty"` // SYNs beyond the first one

	// exchange with TLS
	Certificate string `json:"certificate,omitempty"` // SHA-256 of the server's own certificate
	Subject     string `json:"subject,omitempty"`
	Issuer      string `json:"issuer,omitempty"`
	Trusted     *bool  `json:"trusted,omitempty"` // nil without an authority to verify it with

	// rung
	ReportedMTU *int   `json:"reported_mtu,omitempty"`
	Origin      string `json:"origin,omitempty"`
	ICMPType    *int   `json:"icmp_type,omitempty"`
	ICMPCode    *int   `json:"icmp_code,omitempty"`
	Reporter    string `json:"reporter,omitempty"`

	// burst, collect: when `counted`, a missing `received` is 0
	Burst      string `json:"burst,omitempty"`
	Counted    bool   `json:"counted,omitempty"`
	Duplicates int    `json:"duplicates,omitempty"`

	// collect: of a stream
	Gap  int `json:"gap,omitempty"`  // most numbers in a row that never came, before the highest that came
	Last int `json:"last,omitempty"` // the highest number that came

	// stream
	PauseMs float64 `json:"pause_ms,omitempty"` // longest time between two sendings, which is not the network's

	// hold
	Before string `json:"before,omitempty"` // outcome of the first exchange; that of the last is the probe's

	// stray
	Flows []Flow `json:"flows,omitempty"`

	// churn
	Connected int            `json:"connected,omitempty"`
	Untried   int            `json:"untried,omitempty"` // for which there was no time
	Errors    map[string]int `json:"errors,omitempty"`
	P50Us     int64          `json:"p50_us,omitempty"`
	P99Us     int64          `json:"p99_us,omitempty"`

	// lookup
	Server    string   `json:"server,omitempty"`
	Rcode     string   `json:"rcode,omitempty"`
	Answers   []string `json:"answers,omitempty"`
	Truncated bool     `json:"truncated,omitempty"`
	Queries   []Query  `json:"queries,omitempty"`
}

// Query is one question on the wire.
type Query struct {
	Name      string   `json:"name"`
	Qtype     string   `json:"qtype"`
	Rcode     string   `json:"rcode"` // or the outcome, in small letters, when no answer came
	Answers   []string `json:"answers"`
	Ms        float64  `json:"ms"`
	Server    string   `json:"server"`
	Transport string   `json:"transport"`
}

// readPlan gives the plan, and what is left of the input.
func readPlan(in io.Reader) (Plan, io.Reader, error) {
	var plan Plan
	decoder := json.NewDecoder(in)
	if err := decoder.Decode(&plan); err != nil {
		return plan, nil, fmt.Errorf("plan on standard input: %w", err)
	}
	if plan.DeadlineMs <= 0 {
		plan.DeadlineMs = 2500
	}
	seen := map[string]bool{}
	for i, probe := range plan.Probes {
		if seen[probe.ID] {
			return plan, nil, fmt.Errorf("probe %d: id %q is used twice", i, probe.ID)
		}
		seen[probe.ID] = true
		if plan.Probes[i].Expect == "" {
			plan.Probes[i].Expect = okay
		}
	}
	return plan, io.MultiReader(decoder.Buffered(), in), nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
