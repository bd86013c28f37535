package serve

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"time"

	"cnilab.dev/components/responder/internal/sock"
	"cnilab.dev/components/responder/internal/wire"
)

// idle is how long a silent connection is kept: longer than the longest idle test.
const idle = 10 * time.Minute

// serveTCP looks at the first bytes and speaks what the client speaks: frames, HTTP, or plain text.
func (s *Server) serveTCP(conn net.Conn) {
	defer conn.Close()
	template := wire.Answer{Token: s.Token, Proto: "tcp"}
	template.Peer, template.Local = plain(addrPort(conn.RemoteAddr())), plain(addrPort(conn.LocalAddr()))
	if tcp, ok := conn.(*net.TCPConn); ok {
		template.TTL, template.MSS = sock.SavedSyn(tcp)
	}
	reader := bufio.NewReaderSize(conn, 64<<10)
	for {
		if conn.SetReadDeadline(time.Now().Add(idle)) != nil {
			return
		}
		start, err := reader.Peek(4)
		switch {
		case len(start) == 0 && err != nil:
			return
		case wire.Magic(start):
			if !s.serveFrame(conn, reader, template) {
				return
			}
		case isHTTP(start):
			s.note(template)
			ServeHTTP(conn, reader, func(path string) Page { return s.page(path, template) })
			return
		default:
			if !s.serveText(conn, reader, template) {
				return
			}
		}
	}
}

// serveFrame answers one frame; false ends the connection.
func (s *Server) serveFrame(conn net.Conn, reader *bufio.Reader, answer wire.Answer) bool {
	head, err := reader.Peek(wire.HeaderLen)
	if err != nil {
		return false
	}
	header, _ := wire.Parse(head)
	if header.Number < wire.HeaderLen || header.Number > wire.MaxFrame {
		return false
	}
	answer.Nonce = wire.Hex(header.Nonce)
	digest, longest, last := sha256.New(), time.Duration(0), time.Now()
	buf := make([]byte, 64<<10)
	for left := int(header.Number); left > 0; {
		n, err := reader.Read(buf[:min(left, len(buf))])
		now := time.Now()
		longest, last = max(longest, now.Sub(last)), now
		if header.Kind != wire.Sink {
			digest.Write(buf[:n])
		}
		left -= n
		answer.Len += n
		if err != nil {
			return false
		}
	}
	answer.SHA256, answer.GapUs = hex.EncodeToString(digest.Sum(nil)), longest.Microseconds()
	s.note(answer)
	_, err = conn.Write(encode(answer))
	return err == nil
}

// serveText answers a line, or what came without a newline before the client closed its side: `echo | nc`.
func (s *Server) serveText(conn net.Conn, reader *bufio.Reader, template wire.Answer) bool {
	line, err := reader.ReadSlice('\n')
	if err != nil && err != io.EOF {
		return false
	}
	answer := s.answer("tcp", line, wire.Header{}, false)
	answer.Peer, answer.Local, answer.TTL, answer.MSS = template.Peer, template.Local, template.TTL, template.MSS
	s.note(answer)
	_, writeErr := conn.Write(encode(answer))
	return err == nil && writeErr == nil
}

// serveLocal tells the counts of a burst to whoever asks for it by its key, one key per line.
func (s *Server) serveLocal(conn net.Conn) {
	defer conn.Close()
	scanner := bufio.NewScanner(conn)
	for scanner.Scan() {
		if _, err := conn.Write(encode(s.count.get(strings.TrimSpace(scanner.Text())))); err != nil {
			return
		}
	}
}
