"""A SOCKS 5 proxy (RFC 1928, 1929)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import IO

from tests.relay import Relay

_BY_NAME = 3


class Socks(Relay):
    """`asked` has what was asked for, by name.

    Args:
        names: As of every relay.
        login: User name and password; None where nobody is asked.
    """

    def __init__(self, names: Mapping[str, int], login: tuple[str, str] | None = None) -> None:
        super().__init__(names)
        self._login = login

    def _answer(self, client: socket.socket) -> None:
        file = client.makefile("rb")
        _, count = file.read(2)
        file.read(count)
        client.sendall(b"\5\2" if self._login else b"\5\0")
        if self._login:
            right = _told(file) == self._login
            client.sendall(b"\1\0" if right else b"\1\1")
            if not right:
                return
        kind = file.read(4)[3]
        target = file.read(file.read(1)[0]).decode() if kind == _BY_NAME else socket.inet_ntoa(file.read(4))
        target += f":{struct.unpack('!H', file.read(2))[0]}"
        self.asked.append(target)
        if target in self._names:
            self._join(client, target, b"\5\0\0\1" + bytes(6))
        else:
            client.sendall(b"\5\4\0\1" + bytes(6))


def _told(file: IO[bytes]) -> tuple[str, str]:
    """User name and password."""
    _, length = file.read(2)
    name = file.read(length).decode()
    return name, file.read(file.read(1)[0]).decode()
