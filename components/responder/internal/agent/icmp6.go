package agent

import (
	"encoding/binary"
	"net"

	"cnilab.dev/components/responder/internal/ip6"
	"cnilab.dev/components/responder/internal/sock"
)

// Types and codes of ICMPv6 (RFC 4443).
const (
	destUnreachable6  = 1
	packetTooBig6     = 2
	timeExceeded6     = 3
	parameterProblem6 = 4
	echoRequest6      = 128
	echoReply6        = 129
	portUnreachable6  = 4
)

var version6 = ipVersion{
	network: "ip6:ipv6-icmp",
	family:  "ip6",
	prepare: func(conn *net.IPConn) error {
		return sock.ReceiveICMP6(conn, destUnreachable6, packetTooBig6, timeExceeded6, parameterProblem6, echoReply6)
	},
	// The kernel fills in the checksum, which has the addresses in it (RFC 3542 §3.1).
	message: func(id, sequence uint16, payload []byte) []byte { return message(echoRequest6, id, sequence, payload) },
	read:    readEcho6,
}

// readEcho6 reads what a raw socket received: an ICMPv6 message without its IP header.
func readEcho6(body []byte, from net.IP, info sock.Info) heard {
	if len(body) < icmpHeader {
		return heard{}
	}
	switch body[0] {
	case echoReply6:
		own := info.Dst.String()
		return replied(body, Result{Outcome: okay, ReplyTTL: info.TTL, Source: own, Peer: own, Local: from.String()})
	case destUnreachable6, packetTooBig6, timeExceeded6, parameterProblem6:
		quoted, ok := ip6.Parse(body[icmpHeader:])
		if ok && quoted.Protocol == ip6.ICMP && len(quoted.Payload) >= icmpHeader && quoted.Payload[0] == echoRequest6 {
			return about(quoted.Payload, icmpError6(from.String(), body))
		}
	}
	return heard{}
}

func icmpError6(reporter string, body []byte) Result {
	kind, code := int(body[0]), int(body[1])
	result := refusal(kind, code, reporter)
	switch {
	case kind == packetTooBig6:
		return result.tooBig(int(binary.BigEndian.Uint32(body[4:])))
	case kind == destUnreachable6 && code == portUnreachable6:
		return result.refused()
	}
	return result
}
