"""A SOCKS 5 proxy (RFC 1928, 1929) on loopback; it alone knows where a made-up name leads."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tests.tunnel import PATIENCE, copy

_BY_NAME = 3


class Socks:
    """Serves as long as it is entered.

    Args:
        names: `host:port` as a client asks for it, to the port of loopback that is meant.
        login: User name and password; None where nobody is asked.
    """

    def __init__(self, names: Mapping[str, int], login: tuple[str, str] | None = None) -> None:
        self.asked: list[str] = []
        """What was asked for, by name."""
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
            file = client.makefile("rb")
            _, count = file.read(2)
            file.read(count)
            client.sendall(b"\5\2" if self._login else b"\5\0")
            if self._login:
                _, length = file.read(2)
                name = file.read(length).decode()
                right = (name, file.read(file.read(1)[0]).decode()) == self._login
                client.sendall(b"\1\0" if right else b"\1\1")
                if not right:
                    return
            kind = file.read(4)[3]
            target = file.read(file.read(1)[0]).decode() if kind == _BY_NAME else socket.inet_ntoa(file.read(4))
            target += f":{struct.unpack('!H', file.read(2))[0]}"
            self.asked.append(target)
            if target not in self._names:
                client.sendall(b"\5\4\0\1" + bytes(6))
                return
            with socket.create_connection(("127.0.0.1", self._names[target]), PATIENCE) as server:
                client.sendall(b"\5\0\0\1" + bytes(6))
                for end in (client, server):
                    end.settimeout(None)
                back = threading.Thread(target=copy, args=(server, client), daemon=True)
                back.start()
                copy(client, server)
                back.join()
