package world

import (
	"bufio"
	"fmt"
	"html"
	"net"

	"cnilab.dev/components/responder/internal/serve"
)

// serveWeb offers one page that says who serves it and whom it sees.
func serveWeb(name string, journal *Journal) error {
	listener, err := net.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				continue
			}
			go serveRequest(conn, name, journal)
		}
	}()
	return nil
}

func serveRequest(conn net.Conn, name string, journal *Journal) {
	defer conn.Close()
	remote, local := conn.RemoteAddr().(*net.TCPAddr).AddrPort(), conn.LocalAddr().(*net.TCPAddr).AddrPort()
	serve.ServeHTTP(conn, bufio.NewReader(conn), func(path string) serve.Page {
		seen := between("http", remote, local)
		seen.Path = path
		journal.Add(seen)
		body := seen.Src + "\n"
		if path != "/clientip" {
			body = fmt.Sprintf("<h1>Web Server : %s</h1>\n<p>client %s, asked at %s</p>\n", html.EscapeString(name),
				seen.Src, seen.Dst)
		}
		return serve.Page{Status: "200 OK", Type: "text/html; charset=utf-8", Body: body}
	})
}
