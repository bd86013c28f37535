"""The ssh server of one machine of a lab: it lets one key in, and runs programs as a login of the machine would.

    python ssh_server.py HOST_KEY AUTHORIZED_KEYS WORD...

It listens on the loopback of its network namespace, which is the machine's, and says on standard output when it does.
The words lead into the machine: a shell's command comes after them. It ends with whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from functools import partial
from typing import Any

import asyncssh

CHUNK = 65536


async def _in(source: Any, child: Process) -> None:
    """What the other side sends, to the program; its end, too, and the end of the connection."""
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionError, asyncssh.Error, asyncssh.BreakReceived):
        while data := await source.read(CHUNK):
            child.stdin.write(data)
            await child.stdin.drain()
    with contextlib.suppress(BrokenPipeError, ConnectionError):
        child.stdin.close()


async def _out(source: asyncio.StreamReader | None, sink: Any) -> None:
    """What the program prints, to the other side."""
    assert source is not None
    with contextlib.suppress(BrokenPipeError, ConnectionError, asyncssh.Error):
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()


async def _session(words: Sequence[str], session: asyncssh.SSHServerProcess[bytes]) -> None:
    command = session.command or "exec sh"
    child = await asyncio.create_subprocess_exec(*words, command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    feeding = asyncio.create_task(_in(session.stdin, child))
    await asyncio.gather(_out(child.stdout, session.stdout), _out(child.stderr, session.stderr))
    code = await child.wait()
    feeding.cancel()
    if code < 0:
        session.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
    else:
        session.exit(code)


async def _serve(host_key: str, authorized: str, *words: str) -> None:
    parent = os.getppid()
    await asyncssh.listen(
        "127.0.0.1",
        22,
        server_host_keys=[host_key],
        authorized_client_keys=authorized,
        process_factory=partial(_session, words),
        encoding=None,
    )
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells a process that its parent has ended
        await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
