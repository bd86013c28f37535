package serve

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"

	"cnilab.dev/components/responder/internal/sock"
	"cnilab.dev/components/responder/internal/wire"
)

func (s *Server) serveUDP(conn *net.UDPConn) {
	port := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	payload, oob := make([]byte, 65536), make([]byte, 256)
	for {
		n, oobn, _, peer, err := conn.ReadMsgUDPAddrPort(payload, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error for an earlier answer
		}
		info := sock.ParseInfo(oob[:oobn])
		header, framed := wire.Parse(payload[:n])
		if framed && header.Kind == wire.Burst {
			s.count.add(header)
			continue
		}
		answer := s.answer("udp", payload[:n], header, framed)
		answer.Peer, answer.Local = plain(peer), plain(netip.AddrPortFrom(info.Dst, port))
		answer.TTL = info.TTL
		s.note(answer)
		// Not answering is the only way to report that the way back is closed.
		_, _, _ = conn.WriteMsgUDPAddrPort(encode(answer), sock.From(info.Dst), peer)
	}
}

func (s *Server) answer(proto string, payload []byte, header wire.Header, framed bool) wire.Answer {
	sum := sha256.Sum256(payload)
	answer := wire.Answer{Token: s.Token, Proto: proto, Len: len(payload), SHA256: hex.EncodeToString(sum[:])}
	if framed {
		answer.Nonce = wire.Hex(header.Nonce)
	}
	return answer
}
