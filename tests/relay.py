"""What proxies of tests have in common: they are on loopback, and they alone know where a made-up name leads."""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Self

PATIENCE = 20.0


class Relay(ABC):
    """Serves as long as it is entered.

    Args:
        names: `host:port` as a client asks for it, to the port of loopback that is meant.
    """

    def __init__(self, names: Mapping[str, int]) -> None:
        self.asked: list[str] = []
        """What was asked for."""
        self._names = names
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
                threading.Thread(target=self._met, args=(client,), daemon=True).start()

    def _met(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            self._answer(client)

    @abstractmethod
    def _answer(self, client: socket.socket) -> None:
        """Hear what a client wants, and join it with that or refuse."""

    def _join(self, client: socket.socket, target: str, done: bytes) -> None:
        """Connect, say so, and carry everything both ways."""
        with socket.create_connection(("127.0.0.1", self._names[target]), PATIENCE) as server:
            client.sendall(done)
            for end in (client, server):
                end.settimeout(None)  # who is through may be silent for as long as it likes
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Everything, to the end, which is told."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
