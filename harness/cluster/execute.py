"""Programs in containers of a cluster that is not ours, as a `Runner`.

`kubectl exec` does the same. It is not used because it costs a process for each of many short calls, and because it
ends at an interrupt without ending what it started.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO

import websocket

from harness import timeouts
from harness.cluster.access import Access
from harness.cluster.relay import FED
from harness.cluster.stream import STATUS, STDERR, STDOUT, Place, Stream, exit_status
from harness.enter import LEASH
from harness.runner import Argv, CommandError, Completed, HostRunner, ProgramRunner


class PodRunner(ProgramRunner):
    """Runs programs in one container. See `runner.Runner`.

    Args:
        access: The way to the cluster.
        place: The container.
        prefix: Words before every command: `nsenter …`.
        tls: Shared between runners of one cluster.
        root: Words before these: they lead to a tree of programs in the container, where the image's are no use.
    """

    def __init__(
        self,
        access: Access,
        place: Place,
        prefix: tuple[str, ...] = (),
        tls: ssl.SSLContext | None = None,
        root: tuple[str, ...] = (),
    ) -> None:
        self.access = access
        self.place = place
        self.prefix = prefix
        self.root = root
        self._tls = tls or (access.tls() if access.server.startswith("https:") else None)

    def into(self, place: Place) -> PodRunner:
        """Another container of the same cluster."""
        return PodRunner(self.access, place, (), self._tls)

    def within(self, *prefix: str) -> PodRunner:
        """The same container, with words before every command."""
        return PodRunner(self.access, self.place, prefix, self._tls, self.root)

    def rooted(self, *root: str) -> PodRunner:
        """The same container, with words before every command and before what keeps it on a leash."""
        return PodRunner(self.access, self.place, self.prefix, self._tls, root)

    def vector(self, argv: Argv, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Root, prefix, environment and command."""
        return (*self.root, *self._within(argv, env))

    def _within(self, argv: Argv, env: Mapping[str, str] | None) -> tuple[str, ...]:
        settings = ("env", *(f"{key}={value}" for key, value in env.items())) if env else ()
        return (*self.prefix, *settings, *(str(word) for word in argv))

    @property
    def where(self) -> str:
        """See `ProgramRunner.where`."""
        return f"in pod {self.place}"

    def execute(self, argv: Argv, input: str | None, seconds: float, env: Mapping[str, str] | None) -> Completed:  # noqa: A002 - the name that subprocess.run has
        """See `ProgramRunner.execute`."""
        vector = self.vector(argv, env)
        return _completed(vector, self._talk(vector, None if input is None else input.encode(), seconds))

    def send(self, argv: Argv, data: bytes = b"", *, timeout: float = timeouts.COMMAND) -> bytes:
        """Run a program with bytes as its standard input; what it wrote, as bytes.

        Args:
            argv: Program and arguments.
            data: An old API server cannot tell a program that they end; it must know by itself.
            timeout: Seconds, before scaling.

        Raises:
            CommandError: It failed, or the connection broke.
        """
        vector = self.vector(argv)
        found = self._talk(vector, data or None, timeouts.stretched(timeout))
        _completed(vector, found).insist(vector[0], self.where)
        return bytes(found[STDOUT])

    def _talk(self, vector: tuple[str, ...], data: bytes | None, seconds: float) -> dict[int, bytearray]:
        """All that a program writes, by stream."""
        found: dict[int, bytearray] = {STDOUT: bytearray(), STDERR: bytearray(), STATUS: bytearray()}
        stream = Stream(self.access, self._tls, self.place, vector, stdin=data is not None)
        try:
            if data is not None:
                stream.write(data)
                stream.end_input()
            for channel, part in stream.messages(time.monotonic() + seconds):
                found.setdefault(channel, bytearray()).extend(part)
        except TimeoutError as error:
            msg = f"no answer from pod {self.place} within {seconds:.0f} s"
            raise CommandError(msg, where=" ".join(vector)) from error
        except (websocket.WebSocketException, OSError) as error:
            msg = f"the connection to pod {self.place} broke"
            raise CommandError(msg, cause=str(error) or type(error).__name__, where=" ".join(vector)) from error
        finally:
            stream.close()
        return found

    def start(
        self,
        argv: Argv,
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """See `Runner.start`: a process of this machine stands for the program, and ends it at SIGINT or SIGTERM.

        The program's own standard input is its leash, unless it is to have one: then a program goes on until that ends,
        which an old API server does not tell it.
        """
        where = (self.place.namespace, self.place.pod, self.place.container)
        relay = (sys.executable, "-m", "harness.cluster.relay")
        # Secrets go through a pipe, never through the command line.
        if stdin == subprocess.PIPE:
            fed = (*relay, FED, *where, *self.vector(argv, env))
            process = HostRunner().start(fed, stdin=stdin, stdout=stdout, stderr=stderr, env=timeouts.variables())
            if process.stdin is not None:
                with suppress(BrokenPipeError):  # it has ended already, and says why
                    process.stdin.write(f"{self.access.told()}\n".encode())
                    process.stdin.flush()
            return process
        if stdin not in {None, subprocess.DEVNULL}:
            msg = "a program in a pod can have a pipe as its standard input, and nothing else"
            raise CommandError(msg, where=" ".join(map(str, argv)))
        leashed = (*relay, *where, *self.root, *LEASH, *self._within(argv, env))
        source, sink = os.pipe()
        with os.fdopen(source, "rb") as reader, os.fdopen(sink, "w", encoding="utf-8") as writer:
            writer.write(self.access.told())
            writer.close()
            return HostRunner().start(leashed, stdin=reader, stdout=stdout, stderr=stderr, env=timeouts.variables())


def _completed(vector: tuple[str, ...], found: Mapping[int, bytearray]) -> Completed:
    code, message = exit_status(bytes(found[STATUS]))
    stderr = found[STDERR].decode(errors="replace") or (message if code else "")
    return Completed(vector, code, found[STDOUT].decode(errors="replace"), stderr)
