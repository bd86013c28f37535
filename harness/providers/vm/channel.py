"""Runs programs in the machine: the other end of `guest`."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TextIO

from harness.errors import BringUpError
from harness.providers.vm.guest import EXIT, HEADER, SIGNAL, STDERR, STDIN, STDOUT

CONNECT = 10.0
"""Seconds for an answer to the request; the program itself may take as long as it likes."""


@dataclass(frozen=True)
class Door:
    """The way in.

    Args:
        port: On this machine's loopback.
        token: The secret.
    """

    port: int
    token: str = field(repr=False)

    def answers(self) -> bool:
        """The agent is there: it ends a connection with a wrong secret."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
                connection.settimeout(3.0)
                connection.sendall(b'{"token": ""}\n')
                return connection.recv(1) == b""
        except OSError:
            return False

    def relay(self, port: int) -> None:
        """Let connections to the API port reach that port of the guest's loopback."""
        with self._connect({"relay": port}) as connection:
            connection.recv(HEADER.size + 1)

    def read(self, path: Path) -> str:
        """A file of the guest.

        Raises:
            BringUpError: It cannot be read.
        """
        out = _Collected()
        code = self.run(["cat", str(path)], cwd=Path("/"), env={"PATH": os.defpath}, out=out, err=_Collected())
        if code:
            msg = f"cannot read {path} in the virtual machine"
            raise BringUpError(msg)
        return out.data.decode()

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: int | None = None,
        out: Any = None,
        err: Any = None,
        tty: bool = False,
    ) -> int:
        """Run a program, and pass on what it says as it says it.

        Args:
            argv: The vector.
            cwd: Working directory.
            env: Its whole environment.
            stdin: A descriptor that is passed on; None is an empty input.
            out: Has `write(bytes)` and `flush()`; by default standard output.
            err: Likewise.
            tty: It gets a terminal as large as ours.

        Returns:
            Its exit status.

        Raises:
            BringUpError: The machine ended, or was never there.
        """
        size = os.get_terminal_size() if tty else None
        request = {
            "argv": list(argv),
            "cwd": str(cwd),
            "env": dict(env),
            "tty": [size.lines, size.columns] if size else None,
        }
        with self._connect(request) as connection:
            return _Session(connection, out or own(sys.stdout), err or own(sys.stderr)).carry(stdin)

    def _connect(self, request: Mapping[str, Any]) -> socket.socket:
        try:
            connection = socket.create_connection(("127.0.0.1", self.port), CONNECT)
        except OSError as error:
            raise gone(error.strerror or str(error)) from error
        connection.settimeout(None)
        connection.sendall(json.dumps({"token": self.token, **request}).encode() + b"\n")
        return connection


def gone(cause: str) -> BringUpError:
    """The error of a machine that does not answer."""
    msg = "the virtual machine does not answer"
    return BringUpError(msg, cause=cause, next_step="'cnilab down' removes it; 'cnilab up' makes another")


def own(stream: TextIO) -> Any:
    """Where bytes for one of our own streams go; a caller may have put something else in its place."""
    return stream.buffer if hasattr(stream, "buffer") else _Decoded(stream)


class _Decoded:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        self._stream.write(data.decode(errors="replace"))

    def flush(self) -> None:
        self._stream.flush()


class _Collected:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def flush(self) -> None:
        pass


class _Session:
    def __init__(self, connection: socket.socket, out: IO[bytes], err: IO[bytes]) -> None:
        self._connection = connection
        self._sinks = {STDOUT: out, STDERR: err}
        self._buffer = b""

    def carry(self, stdin: int | None) -> int:
        """Until the program has ended. An interrupt is the program's, which may need a while to clean up."""
        interrupted: KeyboardInterrupt | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            if stdin is None:
                self._send(STDIN, b"")
            else:
                self._watch(selector, stdin)
            while True:
                try:
                    code = self._turn(selector, stdin)
                except KeyboardInterrupt as error:
                    interrupted = error
                    self._send(SIGNAL, bytes([signal.SIGINT]))
                    continue
                if code is not None:
                    if interrupted is not None:
                        raise interrupted
                    return code

    def _watch(self, selector: selectors.BaseSelector, stdin: int) -> None:
        try:
            selector.register(stdin, selectors.EVENT_READ)
        except PermissionError:  # epoll takes no regular files; they are short enough to be read at once
            while data := os.read(stdin, 65536):
                self._send(STDIN, data)
            self._send(STDIN, b"")

    def _turn(self, selector: selectors.BaseSelector, stdin: int | None) -> int | None:
        for key, _ in selector.select():
            if key.fileobj is self._connection:
                data = self._connection.recv(65536)
                if not data:
                    cause = "it closed the connection while a program ran"
                    raise gone(cause)
                self._buffer += data
                if (code := self._frames()) is not None:
                    return code
            elif stdin is not None:
                data = os.read(stdin, 65536)
                self._send(STDIN, data)
                if not data:
                    selector.unregister(stdin)
        return None

    def _frames(self) -> int | None:
        while len(self._buffer) >= HEADER.size:
            kind, length = HEADER.unpack_from(self._buffer)
            end = HEADER.size + length
            if len(self._buffer) < end:
                return None
            payload, self._buffer = self._buffer[HEADER.size : end], self._buffer[end:]
            if kind == EXIT:
                return payload[0]
            self._sinks[kind].write(payload)
            self._sinks[kind].flush()
        return None

    def _send(self, kind: bytes, payload: bytes) -> None:
        self._connection.sendall(HEADER.pack(kind, len(payload)) + payload)
