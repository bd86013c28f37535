package world

import (
	"bufio"
	"fmt"
	"html"
	"net"

	"cnilab.dev/components/responder/internal/serve"
	"cnilab.dev/components/responder/internal/sock"
)

const webPort = 80

// serveWeb offers one page that says who serves it and whom it sees.
func serveWeb(name string, journal *Journal) error {
	listeners, err := sock.ListenTCP(webPort)
	for _, listener := range listeners {
		go serve.AcceptAll(listener, func(conn net.Conn) { serveRequest(conn, name, journal) })
	}
	return err
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
