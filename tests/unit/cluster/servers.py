"""Servers on the loopback that answer a client in the ways that are to be told apart."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import yamlio
from harness.cluster.pki import Pair

Reply = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(reply: Reply) -> Iterator[int]:
    """Answer connections, one after the other; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    reply(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def http(status: str, body: str) -> Reply:
    """One answer of HTTP."""

    def reply(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
        )

    return reply


def over_tls(folder: Path, server: Pair, answer: Reply) -> Reply:
    """The same behind a handshake, with a certificate."""
    (folder / "served.pem").write_text(server.cert + server.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "served.pem")

    def reply(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            answer(tls)

    return reply


def hang_up(connection: socket.socket) -> None:
    """End a connection in the middle of the handshake, as a relay does whose server is not up yet."""
    connection.recv(65536)


def kubeconfig(folder: Path, server: str, ca: str, user: Pair) -> Path:
    """A kubeconfig that names files, as those of labs."""
    for name, content in (("ca.crt", ca), ("u.crt", user.cert), ("u.key", user.key)):
        (folder / name).write_text(content)
    path = folder / "kubeconfig"
    cluster = {"server": server, "certificate-authority": "ca.crt"}
    credentials = {"client-certificate": "u.crt", "client-key": "u.key"}
    path.write_text(
        yamlio.dumps({"clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": credentials}]})
    )
    return path
