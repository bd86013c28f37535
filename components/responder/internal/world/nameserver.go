package world

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"cnilab.dev/components/responder/internal/dns"
	"cnilab.dev/components/responder/internal/serve"
	"cnilab.dev/components/responder/internal/sock"
)

const dnsPort = 53

// serveDNS answers for a zone on port 53, UDP and TCP. What could not be opened is in the error; the rest serves.
func serveDNS(zone Zone, journal *Journal) error {
	conns, failedUDP := sock.ListenUDP(dnsPort)
	for _, conn := range conns {
		go serveDatagrams(conn, zone, journal)
	}
	listeners, failedTCP := sock.ListenTCP(dnsPort)
	for _, listener := range listeners {
		go serve.AcceptAll(listener, func(conn net.Conn) { serveStream(conn, zone, journal) })
	}
	return errors.Join(failedUDP, failedTCP)
}

func serveDatagrams(conn *net.UDPConn, zone Zone, journal *Journal) {
	payload, oob := make([]byte, 4096), make([]byte, 256)
	for {
		n, oobn, _, peer, err := conn.ReadMsgUDPAddrPort(payload, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		info := sock.ParseInfo(oob[:oobn])
		answer := reply(payload[:n], zone, journal, peer, netip.AddrPortFrom(info.Dst, dnsPort), info.TTL)
		if answer != nil {
			// The answer must come from the address that was asked, which is one of many here.
			_, _, _ = conn.WriteMsgUDPAddrPort(answer, sock.From(info.Dst), peer)
		}
	}
}

// serveStream answers queries on a connection, each with its length in front (RFC 1035 §4.2.2).
func serveStream(conn net.Conn, zone Zone, journal *Journal) {
	defer conn.Close()
	peer, local := conn.RemoteAddr().(*net.TCPAddr).AddrPort(), conn.LocalAddr().(*net.TCPAddr).AddrPort()
	for {
		if conn.SetDeadline(time.Now().Add(30*time.Second)) != nil {
			return
		}
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		answer := reply(query, zone, journal, peer, local, nil)
		if answer == nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// reply is the packed answer to a packed query; nil for what is not one.
func reply(query []byte, zone Zone, journal *Journal, peer, local netip.AddrPort, ttl *int) []byte {
	q, err := dns.Parse(query)
	if err != nil || q.Response {
		return nil
	}
	seen := between("dns", peer, local)
	seen.Qname, seen.Qtype, seen.TTL = q.Question.Name.String(), dns.TypeName(q.Question.Type), ttl
	journal.Add(seen)
	answer, err := dns.Pack(zone.Answer(q))
	if err != nil {
		return nil
	}
	return answer
}
