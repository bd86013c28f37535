"""The cache: what is in it is made by one at a time, of all processes.

    <cache>/locks/, <cache>/scratch/  one user at a time; thrown away

Everything is made in `scratch` and moved into place in one step, so an interrupted run leaves no half file.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import timeouts
from harness.components import entry as entries
from harness.components.sources.base import CancelledError
from harness.errors import PreflightError


class Cache:
    """Makes things once, and keeps them.

    Args:
        cache: Where all is kept. May be shared by several cnilab processes at a time.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache.absolute()

    @contextmanager
    def exclusive(
        self, name: str, say: Callable[[str], None] = lambda _: None, cancelled: threading.Event | None = None
    ) -> Iterator[Path]:
        """Be the only one, in all processes, who makes something.

        Args:
            name: Of what is made.
            say: Told when somebody else is at it.
            cancelled: Gives up waiting when set.

        Yields:
            An empty scratch directory in the cache's file system, removed at the end. What a killed process left in
            it is removed at the start.

        Raises:
            PreflightError: The cache cannot be written: a full disk, no access.
        """
        locks = self.cache / "locks"
        try:
            locks.mkdir(parents=True, exist_ok=True)
            with (locks / name).open("w") as file:
                self._wait_for(file.fileno(), name, say, cancelled or threading.Event())
                scratch = self.cache / "scratch" / name
                entries.remove(scratch)
                scratch.mkdir(parents=True)
                try:
                    yield scratch
                finally:
                    entries.remove(scratch)
        except OSError as error:
            msg = f"cannot make {name} in the cache"
            raise PreflightError(
                msg,
                cause=str(error),
                where=str(self.cache),
                next_step="free space or give access there, or set another directory with CNILAB_CACHE",
            ) from error

    @staticmethod
    def _wait_for(descriptor: int, name: str, say: Callable[[str], None], cancelled: threading.Event) -> None:
        for elapsed in timeouts.ticks(timeouts.BUILD):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if elapsed > 1:
                    say(f"waiting for another cnilab process that is making {name}")
                if cancelled.is_set():
                    msg = "stopped"
                    raise CancelledError(msg) from None
            else:
                return
        msg = f"another process has been making {name} for {timeouts.scaled(timeouts.BUILD):.0f} s"
        raise PreflightError(msg, next_step="end that process and try again")

    def publish(self, made: Path, place: Path) -> None:
        """Move a finished directory into its place in one step, away with what was there."""
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            old = made.with_name(f"{made.name}.old")
            place.rename(old)
            entries.remove(old)
        made.rename(place)

    def forget_old(self, directory: Path, *, keep: int = 2, hours: float = 1.0) -> None:
        """Remove what is large, can be made again, and has not been used for a while.

        Args:
            directory: Whose entries are looked at, as `containerd-root`. Users of an entry touch it.
            keep: So many of the last used stay in any case.
            hours: So long an entry stays in any case: another process may be about to clone it.
        """
        used = {path: path.stat().st_mtime for path in directory.iterdir()} if directory.is_dir() else {}
        limit = time.time() - hours * 3600
        for path in sorted(used, key=lambda path: used[path], reverse=True)[keep:]:
            if used[path] < limit:
                entries.remove(path)
