package agent

import (
	"encoding/binary"
	"net"
	"syscall"

	"cnilab.dev/components/responder/internal/sock"
)

// Types and codes of ICMP (RFC 792).
const (
	echoReply        = 0
	destUnreachable  = 3
	echoRequest      = 8
	timeExceeded     = 11
	parameterProblem = 12
	fragNeeded       = 4
	portUnreachable  = 3
)

var version4 = ipVersion{
	network: "ip4:icmp",
	family:  "ip4",
	prepare: func(*net.IPConn) error { return nil },
	message: echoMessage,
	read:    func(packet []byte, _ net.IP, _ sock.Info) heard { return readEcho(packet) },
}

// readEcho reads what a raw socket received: an IPv4 packet.
func readEcho(b []byte) heard {
	body, ok := icmpOf(b)
	if !ok {
		return heard{}
	}
	switch body[0] {
	case echoReply:
		ttl := int(b[8])
		return replied(body, Result{
			Outcome: okay, ReplyTTL: &ttl,
			Source: net.IP(b[16:20]).String(), Peer: net.IP(b[16:20]).String(), Local: net.IP(b[12:16]).String(),
		})
	case destUnreachable, timeExceeded, parameterProblem:
		if quoted, ok := icmpOf(body[icmpHeader:]); ok && quoted[0] == echoRequest {
			return about(quoted, icmpError(net.IP(b[12:16]).String(), body))
		}
	}
	return heard{}
}

func icmpError(reporter string, body []byte) Result {
	kind, code := int(body[0]), int(body[1])
	result := refusal(kind, code, reporter)
	switch {
	case kind == destUnreachable && code == fragNeeded:
		return result.tooBig(int(binary.BigEndian.Uint16(body[6:])))
	case kind == destUnreachable && code == portUnreachable:
		return result.refused()
	}
	return result
}

// icmpOf is the ICMP message of an IPv4 packet.
func icmpOf(b []byte) ([]byte, bool) {
	if len(b) < 20 || b[0]>>4 != 4 || b[9] != syscall.IPPROTO_ICMP {
		return nil, false
	}
	start := int(b[0]&15) * 4
	if len(b) < start+icmpHeader {
		return nil, false
	}
	return b[start:], true
}

func echoMessage(id, sequence uint16, payload []byte) []byte {
	b := message(echoRequest, id, sequence, payload)
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
