"""`python -m harness.cluster.relay NAMESPACE POD CONTAINER COMMAND…`: a program in a container as a process of ours.

The way to the cluster comes on standard input. The program's output comes out here. SIGINT and SIGTERM end its standard
input, which is its leash (`enter.LEASH`); what it still has to say is waited for.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

from harness import timeouts
from harness.cluster.access import heard
from harness.cluster.stream import STATUS, STDERR, STDOUT, Place, Stream, exit_status
from harness.errors import CnilabError


def main(words: list[str]) -> int:
    """Relay until the program ends; its exit status."""
    namespace, pod, container, *argv = words
    access = heard(sys.stdin.read())
    tls = access.tls() if access.server.startswith("https:") else None
    stream = Stream(access, tls, Place(namespace, pod, container), tuple(argv), stdin=True)

    def end(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        with suppress(Exception):  # it may have ended by itself
            stream.end_input()

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    status = b""
    for channel, data in stream.messages():
        if channel == STATUS:
            status += data
        elif channel in {STDOUT, STDERR}:
            _write(channel, data)
    return exit_status(status)[0]


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
