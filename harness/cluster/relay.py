"""`python -m harness.cluster.relay [--fed] NAMESPACE POD CONTAINER COMMAND…`: a program in a container, as one of ours.

The way to the cluster comes on standard input. The program's output comes out here. SIGINT and SIGTERM end its standard
input, which is its leash (`enter.LEASH`); what it still has to say is waited for. One that is fed has an input of its
own: what follows the line with the way to the cluster.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Final

from harness import timeouts
from harness.cluster.access import heard
from harness.cluster.stream import STATUS, STDERR, STDOUT, Place, Stream, exit_status
from harness.errors import CnilabError

FED: Final = "--fed"


def main(words: list[str]) -> int:
    """Relay until the program ends; its exit status."""
    fed = words[0] == FED
    namespace, pod, container, *argv = words[1:] if fed else words
    access = heard(_line() if fed else sys.stdin.read())
    tls = access.tls() if access.server.startswith("https:") else None
    stream = Stream(access, tls, Place(namespace, pod, container), tuple(argv), stdin=True)

    def end(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        with suppress(Exception):  # it may have ended by itself
            stream.end_input()

    if fed:
        threading.Thread(target=_feed, args=(stream,), daemon=True).start()
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    status = b""
    for channel, data in stream.messages():
        if channel == STATUS:
            status += data
        elif channel in {STDOUT, STDERR}:
            _write(channel, data)
    return exit_status(status)[0]


def _line(source: int = 0) -> str:
    """A line of standard input, and no byte of what follows it."""
    found = bytearray()
    while not found.endswith(b"\n") and (byte := os.read(source, 1)):
        found += byte
    return found.decode()


def _feed(stream: Stream, source: int = 0) -> None:
    """What comes in, to the program, until that ends."""
    with suppress(Exception):  # the program may have ended by itself
        while data := os.read(source, 65536):
            stream.write(data)
        stream.end_input()


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    try:
        with timeouts.paced(timeouts.heard(os.environ)):
            sys.exit(main(sys.argv[1:]))
    except CnilabError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
