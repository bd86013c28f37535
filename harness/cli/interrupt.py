"""Ctrl-C: the first one cleans up, within a bound; the second one quits at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from harness import timeouts

PATIENCE = 60.0
"""Seconds that cleaning up may take after an interrupt, before scaling."""

LONGEST = 86400.0
"""Seconds that it may take at most, whatever the factor: a timer takes no number of any size."""


def unbounded() -> None:
    """Whoever cleans up after this interrupt has a bound of its own, elsewhere: wait until it is done."""
    signal.alarm(0)


class Interrupted(KeyboardInterrupt):
    """The user, or the system, wants this command to end.

    Args:
        signum: The signal; the exit code is 128 + its number, as shells have it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


def _patience() -> float:
    """Seconds for cleaning up, stretched like all deadlines.

    To be asked when the signal comes: before the command line is read, the factor is not known.
    """
    return min(timeouts.stretched(PATIENCE), LONGEST)


def _quit(message: str, code: int) -> None:
    # Straight to the file descriptor: this runs in a signal handler, maybe in the middle of a write to stderr.
    os.write(2, f"\ncnilab: {message}\n".encode())
    os._exit(code)


@contextmanager
def handling() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into one `Interrupted`, and a second one into the end."""
    seen: list[int] = []
    patience = PATIENCE

    def on_signal(signum: int, frame: FrameType | None) -> None:
        del frame
        nonlocal patience
        if seen:
            _quit("stopped immediately; 'cnilab down --all' removes what is left", 130)
        seen.append(signum)
        patience = _patience()
        signal.signal(signal.SIGALRM, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, patience)
        os.write(2, b"\ncnilab: interrupted, cleaning up; once more to quit at once\n")
        raise Interrupted(signum)

    def on_alarm(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        _quit(f"the clean-up took more than {patience:.0f} s; 'cnilab down --all' removes what is left", 128 + seen[0])

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {signum: signal.signal(signum, on_signal) for signum in signals}
    try:
        yield
    finally:
        signal.alarm(0)
        for signum, handler in before.items():
            signal.signal(signum, handler)
        sys.stderr.flush()
