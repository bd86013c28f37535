"""Turns of builds: a few at a time, and the longest first, since it decides when all are there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

LOOK_UP = 0.2
"""Seconds between two looks at whether a build that waits for its turn has been cancelled."""


class Turns:
    """Slots for builds.

    A build may still have to come, because a download is tried before it. While it may, a slot is kept for it against
    all that are shorter; otherwise a short build that comes first would keep the longest waiting. Of one slot none is
    kept: one after the other, builds take as long in any order, and while sources are fetched it would be idle.

    Args:
        slots: Builds at a time.
    """

    def __init__(self, slots: int) -> None:
        self._slots = self._free = slots
        self._expected: dict[str, float] = {}
        self._waiting: dict[str, float] = {}
        self._changed = threading.Condition()

    def expect(self, builds: Mapping[str, float]) -> None:
        """Builds that may come.

        Args:
            builds: By name, about how many seconds each takes.
        """
        with self._changed:
            self._expected.update(builds)

    def forget(self, name: str) -> None:
        """A build need not be expected any longer: what it would make came from elsewhere, or never will."""
        with self._changed:
            self._expected.pop(name, None)
            self._changed.notify_all()

    @contextmanager
    def turn(self, name: str, check: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """Wait for a slot, and hold it.

        Args:
            name: Of the build.
            check: Called while it waits; raises to give up.

        Yields:
            What gives the slot back before the end, for a build that keeps one core busy from now on.
        """
        with self._changed:
            self._waiting[name] = self._expected.pop(name, 0.0)
            self._changed.notify_all()
            try:
                while not self._may(name):
                    check()
                    self._changed.wait(LOOK_UP)
            finally:
                del self._waiting[name]
            self._free -= 1
        held = [name]

        def leave() -> None:
            with self._changed:
                if held:
                    held.clear()
                    self._free += 1
                    self._changed.notify_all()

        try:
            yield leave
        finally:
            leave()

    def _may(self, name: str) -> bool:
        seconds = self._waiting[name]
        to_come = tuple(self._expected.values()) if self._slots > 1 else ()
        ahead = sum(other > seconds for other in (*to_come, *self._waiting.values()))
        return self._free > ahead
