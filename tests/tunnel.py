"""An HTTP proxy that makes tunnels (CONNECT)."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from tests.relay import Relay


class Tunnel(Relay):
    """`asked` has the first lines of all requests.

    Args:
        names: As of every relay.
        login: What `Proxy-Authorization` must be; empty where nobody is asked.
    """

    def __init__(self, names: Mapping[str, int], login: str = "") -> None:
        super().__init__(names)
        self._login = login

    def _answer(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n") and (more := client.recv(1)):
            head += more
        lines = head.decode().split("\r\n")
        self.asked.append(lines[0])
        method, target, _ = lines[0].split(" ")
        if self._login and f"proxy-authorization: {self._login}".lower() not in (one.lower() for one in lines):
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        elif method != "CONNECT" or target not in self._names:
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        else:
            self._join(client, target, b"HTTP/1.1 200 Connection established\r\n\r\n")
