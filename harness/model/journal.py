"""Steps of the harness as they happen: to `events.jsonl`, and to whoever listens (the progress display)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from harness.model.records import Event
from harness.model.run import RunDir

TEST: Final = "test"
"""The step of `cnilab test`."""

Listener = Callable[[Event], None]


def now() -> str:
    """The present moment, RFC 3339, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Journal:
    """Records steps with their durations.

    Args:
        run: Where events are kept; None keeps none.
        listeners: Called with every event, in the thread of the step.
    """

    def __init__(self, run: RunDir | None = None, *listeners: Listener) -> None:
        self.run = run
        self.listeners = listeners

    def emit(self, event: Event) -> None:
        """Record one event."""
        if self.run is not None:
            self.run.add_event(event)
        for listener in self.listeners:
            listener(event)

    def note(self, step: str, title: str, **detail: Any) -> None:
        """Record something worth knowing that took no time."""
        self.emit(Event(at=now(), step=step, state="note", title=title, detail=detail))

    @contextmanager
    def step(self, step: str, title: str, **detail: Any) -> Iterator[dict[str, Any]]:
        """Record a step: started, then ok or failed with its duration.

        Args:
            step: Dotted name, stable: `up.cluster.api`.
            title: For people.
            **detail: Facts known at the start.

        Yields:
            The detail of the closing event; the step may add to it.
        """
        self.emit(Event(at=now(), step=step, state="started", title=title, detail=detail))
        start = time.monotonic()
        closing: dict[str, Any] = dict(detail)
        try:
            yield closing
        except BaseException as error:
            closing["error"] = str(error) or type(error).__name__
            self.emit(
                Event(
                    at=now(), step=step, state="failed", title=title, seconds=time.monotonic() - start, detail=closing
                )
            )
            raise
        self.emit(Event(at=now(), step=step, state="ok", title=title, seconds=time.monotonic() - start, detail=closing))
