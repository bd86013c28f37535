"""Runs programs in the machine: the other end of `guest`."""

from __future__ import annotations

import json
import os
import selectors
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TextIO

from harness import connection as connections
from harness import timeouts
from harness.errors import BringUpError, CnilabError, NotYetError
from harness.vm.guest import EXIT, HEADER, SIGNAL, STDERR, STDIN, STDOUT

CONNECT = 10.0
"""Seconds until the way in takes a connection."""

ANSWER = 3.0
"""Seconds for the agent to end a connection that it does not want; whoever waits for the agent asks again."""


@dataclass(frozen=True)
class Patience:
    """How long somebody waits for a program inside; seconds, before scaling.

    Args:
        whole: For its end; None: as long as it likes, as somebody watches it.
        interrupted: For its end after an interrupt; None: as long as it likes, as it cleans up.
        on_interrupt: Called at an interrupt.
    """

    whole: float | None = None
    interrupted: float | None = None
    on_interrupt: Callable[[], object] | None = None


WATCHED = Patience()


@dataclass(frozen=True)
class Door:
    """The way in.

    Args:
        port: On this machine's loopback.
        token: The secret.
        slower: Factor on every deadline, where the machine's processor is emulated.
    """

    port: int
    token: str = field(repr=False)
    slower: float = 1.0

    def answers(self) -> bool:
        """The agent is there."""
        try:
            self.greet()
        except CnilabError:
            return False
        return True

    def greet(self) -> None:
        """Insist that the agent is there: it ends a connection with a wrong secret.

        Raises:
            NotYetError: It does not answer; says why.
            BringUpError: No connection can be made, and time does not change that.
        """
        where = f"port {self.port} of the loopback"
        try:
            with socket.create_connection(("127.0.0.1", self.port), self._scaled(ANSWER)) as connection:
                connection.sendall(b'{"token": ""}\n')
                if connection.recv(1) == b"":
                    return
        except OSError as error:
            if lasting := connections.lasting(error, "the virtual machine"):
                raise BringUpError(lasting.what, lasting.reason, where, lasting.next_step) from error
            msg = "its agent does not answer"
            raise NotYetError(msg, error.strerror or str(error) or type(error).__name__, where) from error
        msg = "another program answers instead of its agent"
        raise NotYetError(msg, where=where)

    def relay(self, port: int) -> None:
        """Let connections to the API port reach that port of the guest's loopback.

        Raises:
            BringUpError: The machine does not confirm it.
        """
        with self._connect({"relay": port}) as connection:
            connection.settimeout(self._scaled(timeouts.COMMAND))
            try:
                confirmed = connection.recv(HEADER.size + 1)
            except OSError as error:
                raise gone(str(error)) from error
        if not confirmed:
            cause = "it closed the connection"
            raise gone(cause)

    def read(self, path: Path) -> str:
        """A file of the guest.

        Raises:
            BringUpError: It cannot be read.
        """
        out = _Collected()
        env = {"PATH": os.defpath}
        patience = Patience(timeouts.COMMAND, interrupted=0.0)
        code = self.run(["cat", str(path)], cwd=Path("/"), env=env, out=out, err=_Collected(), patience=patience)
        if code:
            msg = f"cannot read {path} in the virtual machine"
            raise BringUpError(msg)
        return out.data.decode()

    def run(  # noqa: PLR0913 - as subprocess.run: a program, its surroundings, its streams
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: int | None = None,
        out: Any = None,
        err: Any = None,
        tty: bool = False,
        patience: Patience = WATCHED,
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
            patience: When to go on without it. It gets a hang-up then.

        Returns:
            Its exit status.

        Raises:
            BringUpError: The machine ended, or was never there; or the program took too long.
        """
        size = os.get_terminal_size() if tty else None
        request = {
            "argv": list(argv),
            "cwd": str(cwd),
            "env": dict(env),
            "tty": [size.lines, size.columns] if size else None,
            "slower": self._scaled(1.0),
        }
        with self._connect(request) as connection:
            session = _Session(connection, out or own(sys.stdout), err or own(sys.stderr))
            return session.carry(stdin, _Wait(patience, self._scaled, argv))

    def _connect(self, request: Mapping[str, Any]) -> socket.socket:
        try:
            connection = socket.create_connection(("127.0.0.1", self.port), self._scaled(CONNECT))
            connection.settimeout(None)
            connection.sendall(json.dumps({"token": self.token, **request}).encode() + b"\n")
        except OSError as error:
            raise gone(error.strerror or str(error)) from error
        return connection

    def _scaled(self, seconds: float) -> float:
        return timeouts.stretched(seconds) * self.slower


def gone(cause: str) -> BringUpError:
    """The error of a machine that does not answer."""
    msg = "the virtual machine does not answer"
    return BringUpError(
        msg, cause=cause, next_step="remove it with 'cnilab down' and create a new one with 'cnilab up'"
    )


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


class _Wait:
    """The time that is left for a program inside."""

    def __init__(self, patience: Patience, scaled: Callable[[float], float], argv: Sequence[str]) -> None:
        self._patience = patience
        self._scaled = scaled
        self._argv = argv
        self._interrupt: KeyboardInterrupt | None = None
        self._limit(patience.whole)

    def _limit(self, seconds: float | None) -> None:
        self._seconds = None if seconds is None else self._scaled(seconds)
        self._end = None if self._seconds is None else time.monotonic() + self._seconds

    def left(self) -> float | None:
        """Seconds; None without a limit.

        Raises:
            KeyboardInterrupt: The one that came, when the time for cleaning up is over.
            BringUpError: The time is over.
        """
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left > 0:
            return left
        if self._interrupt is not None:
            raise self._interrupt
        msg = f"waited {self._seconds:.0f} s for a program in the virtual machine"
        raise BringUpError(
            msg, where=shlex.join(self._argv), next_step="extend all deadlines with CNILAB_TIMEOUT_SCALE=4"
        )

    def interrupted(self, interrupt: KeyboardInterrupt) -> None:
        """From now on the program cleans up."""
        self._interrupt = interrupt
        self._limit(self._patience.interrupted)
        if self._patience.on_interrupt is not None:
            self._patience.on_interrupt()

    def ended(self, code: int) -> int:
        """The exit status, unless somebody wanted the end."""
        if self._interrupt is not None:
            raise self._interrupt
        return code


class _Session:
    def __init__(self, connection: socket.socket, out: IO[bytes], err: IO[bytes]) -> None:
        self._connection = connection
        self._sinks = {STDOUT: out, STDERR: err}
        self._buffer = b""

    def carry(self, stdin: int | None, wait: _Wait) -> int:
        """Until the program has ended. An interrupt is the program's, which may need a while to clean up."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            if stdin is None:
                self._send(STDIN, b"")
            else:
                self._watch(selector, stdin)
            while True:
                left = wait.left()
                try:
                    code = self._turn(selector, stdin, left)
                except KeyboardInterrupt as error:
                    wait.interrupted(error)
                    self._send(SIGNAL, bytes([signal.SIGINT]))
                    continue
                if code is not None:
                    return wait.ended(code)

    def _watch(self, selector: selectors.BaseSelector, stdin: int) -> None:
        try:
            selector.register(stdin, selectors.EVENT_READ)
        except PermissionError:  # epoll takes no regular files; they are short enough to be read at once
            while data := os.read(stdin, 65536):
                self._send(STDIN, data)
            self._send(STDIN, b"")

    def _turn(self, selector: selectors.BaseSelector, stdin: int | None, seconds: float | None) -> int | None:
        for key, _ in selector.select(seconds):
            if key.fileobj is self._connection:
                data = self._received()
                if not data:
                    cause = "it closed the connection while a program was running"
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

    def _received(self) -> bytes:
        try:
            return self._connection.recv(65536)
        except OSError as error:
            raise gone(error.strerror or str(error)) from error

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
        # Who listens no more has ended, and what it said last is still to be read.
        with suppress(OSError):
            self._connection.sendall(HEADER.pack(kind, len(payload)) + payload)
