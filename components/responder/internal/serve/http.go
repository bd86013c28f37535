package serve

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"cnilab.dev/components/responder/internal/wire"
)

// Page is an HTTP answer.
type Page struct {
	Status string // "200 OK"
	Type   string
	Body   string
}

const (
	ok       = "200 OK"
	notFound = "404 Not Found"
	text     = "text/plain; charset=utf-8"
)

func isHTTP(start []byte) bool {
	switch string(start) {
	case "GET ", "HEAD", "POST", "PUT ":
		return true
	}
	return false
}

// ServeHTTP answers one HTTP/1.x request and closes. It is enough for curl, wget and kubelet's probes; package
// net/http would double the time that this program needs to start.
func ServeHTTP(conn net.Conn, reader *bufio.Reader, page func(target string) Page) {
	if conn.SetDeadline(time.Now().Add(30*time.Second)) != nil {
		return
	}
	line, err := reader.ReadSlice('\n') // at most the reader's buffer
	if err != nil {
		return
	}
	words := strings.Fields(string(line))
	for {
		header, err := reader.ReadSlice('\n')
		if err != nil {
			return
		}
		if len(bytes.TrimSpace(header)) == 0 {
			break
		}
	}
	if len(words) < 2 {
		return
	}
	answer := page(words[1])
	body := answer.Body
	if words[0] == "HEAD" {
		body = ""
	}
	fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		answer.Status, answer.Type, len(answer.Body), body)
}

// page is what a responder offers over HTTP.
func (s *Server) page(target string, seen wire.Answer) Page {
	address, err := url.Parse(target)
	if err != nil {
		return Page{"400 Bad Request", text, "not a path\n"}
	}
	switch address.Path {
	case "/":
		return Page{ok, "application/json", string(encode(seen))}
	case "/healthz":
		return Page{ok, text, "ok\n"}
	case "/clientip":
		return Page{ok, text, seen.Peer + "\n"}
	case "/hostname":
		return Page{ok, text, s.Token + "\n"}
	case "/whoami":
		return Page{ok, text, fmt.Sprintf("Hostname: %s\nRemoteAddr: %s\nLocalAddr: %s\n", s.Token, seen.Peer, seen.Local)}
	case "/burst":
		return Page{ok, "application/json", string(encode(s.count.get(address.Query().Get("id"))))}
	}
	return Page{notFound, text, "pages: / /healthz /clientip /hostname /whoami /burst?id=KEY\n"}
}
