"""An HTTP proxy that makes tunnels (CONNECT), on loopback; it alone knows where a made-up name leads."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

PATIENCE = 20.0


class Tunnel:
    """Serves as long as it is entered.

    Args:
        names: `host:port` as a client asks for it, to the port of loopback that is meant.
        login: What `Proxy-Authorization` must be; empty where nobody is asked.
    """

    def __init__(self, names: Mapping[str, int], login: str = "") -> None:
        self.asked: list[str] = []
        """First lines of all requests."""
        self._names = names
        self._login = login
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(PATIENCE)
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n") and (more := client.recv(1)):
                head += more
            lines = head.decode().split("\r\n")
            self.asked.append(lines[0])
            method, target, _ = lines[0].split(" ")
            if self._login and f"proxy-authorization: {self._login}".lower() not in (one.lower() for one in lines):
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            if method != "CONNECT" or target not in self._names:
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self._names[target]), PATIENCE) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                for end in (client, server):
                    end.settimeout(None)  # who is through may be silent for as long as it likes
                back = threading.Thread(target=copy, args=(server, client), daemon=True)
                back.start()
                copy(client, server)
                back.join()


def copy(source: socket.socket, target: socket.socket) -> None:
    """Everything, to the end, which is told."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
