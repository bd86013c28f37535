"""Stands for a program on another machine, and ends it: `python -m harness.providers.vagrant.relay ssh …`.

The program's standard input is a pipe from here, and nothing is written to it. When this process ends, or is told to,
the pipe closes; the other side then ends the program, whose last words still arrive.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType


def main(words: list[str]) -> int:
    """Run the words to their end, and let go of the leash at SIGINT or SIGTERM.

    Returns:
        Their exit status, as a shell says it.
    """
    source, leash = os.pipe()
    open_ends = [leash]

    def let_go(number: int, frame: FrameType | None) -> None:
        del number, frame
        while open_ends:
            os.close(open_ends.pop())

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, let_go)
    # Signals of our process group are for us alone.
    with subprocess.Popen(words, stdin=source, process_group=0) as process:
        os.close(source)
        code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
