"""Steps of the harness on stderr: a live display on a terminal, plain lines everywhere else."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from harness.cli.context import settings, shown

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from harness.model.journal import Listener
    from harness.model.records import Event

HEARTBEAT = 20.0
"""Seconds after which a plain log says that a step is still running; CI services end jobs that are silent for long."""

_DEPTH = 2
"""Dots in a step's name up to which it is shown without -v: up.cluster.api is, up.cluster.api.pki is not."""


@contextmanager
def progress() -> Iterator[Listener]:
    """A journal's listener that shows steps while they run."""
    options = settings()
    if options.quiet:
        yield _silent
        return
    color = click.get_current_context().color
    live = sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
    with _live(options.verbose, color=color) if live else _plain(options.verbose, color=color) as listener:
        yield listener


def _silent(event: Event) -> None:
    del event


def line(event: Event, elapsed: float, *, color: bool) -> str:
    """One finished step as one line.

    Args:
        event: A step that ended, or a note.
        elapsed: Seconds since the command began.
        color: Paint the mark.
    """
    mark, paint = {"ok": ("ok", "green"), "failed": ("FAILED", "red"), "skipped": ("skipped", "yellow")}.get(
        event.state, ("", None)
    )
    took = f" ({event.seconds:.1f} s)" if event.seconds is not None and event.seconds >= 0.05 else ""
    text = f"[{elapsed:6.1f} s] {shown(event.title or event.step, 200)}"
    if mark and mark != "ok":
        text += f": {click.style(mark, fg=paint) if color else mark}"
    elif missed := event.detail.get("missed"):
        # The step did its work; what it found is bad news.
        text += f": {click.style('FAILED', fg='red') if color else 'FAILED'}: {shown(str(missed), 200)}"
    if event.state == "failed" and event.detail.get("error"):
        text += f": {shown(str(event.detail['error']).splitlines()[0], 160)}"
    return text + took


def _wanted(event: Event, verbose: int) -> bool:
    if event.state == "failed":
        return True
    return event.state != "started" and (verbose > 0 or event.step.count(".") <= _DEPTH)


class _Running:
    """Steps that are under way. Two threads may do the same step, waiting for one another: to people it is one."""

    def __init__(self) -> None:
        self.since: dict[str, tuple[str, float]] = {}
        self._times: Counter[str] = Counter()

    def note(self, event: Event) -> bool:
        """Take notice of an event; True when it begins or ends a step as people see it, and for notes."""
        if event.state == "note":
            return True
        if event.state == "started":
            self._times[event.step] += 1
            self.since.setdefault(event.step, (event.title or event.step, time.monotonic()))
            return self._times[event.step] == 1
        self._times[event.step] -= 1
        if self._times[event.step] > 0:
            return False
        self.since.pop(event.step, None)
        return True


@contextmanager
def _plain(verbose: int, *, color: bool | None) -> Iterator[Listener]:
    began = time.monotonic()
    lock = threading.Lock()
    running = _Running()
    over = threading.Event()
    spoke = began

    def listen(event: Event) -> None:
        nonlocal spoke
        with lock:
            if running.note(event) and _wanted(event, verbose):
                spoke = time.monotonic()
                click.echo(line(event, spoke - began, color=bool(color)), err=True, color=color)

    def beat() -> None:
        while not over.wait(HEARTBEAT):
            now = time.monotonic()
            with lock:
                if now - spoke < HEARTBEAT:
                    continue  # who hears how far a build is need not hear that another one waits
                # Only the innermost long step says something new.
                slow = [(title, now - since) for title, since in running.since.values() if now - since >= HEARTBEAT]
                for title, seconds in slow[-1:]:
                    click.echo(f"[{now - began:6.1f} s] {shown(title, 200)}: still running ({seconds:.0f} s)", err=True)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield listen
    finally:
        over.set()
        thread.join()


@contextmanager
def _live(verbose: int, *, color: bool | None) -> Iterator[Listener]:
    # rich costs a third of a second to import: only a terminal pays for it.
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    began = time.monotonic()
    console = Console(stderr=True, no_color=color is False, highlight=False, soft_wrap=True)
    bars: Progress = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
    )
    lock = threading.Lock()
    running = _Running()
    tasks: dict[str, TaskID] = {}

    def listen(event: Event) -> None:
        with lock:
            if not running.note(event):
                return
            if event.state == "started":
                tasks[event.step] = bars.add_task(escape(shown(event.title or event.step, 100)), total=None)
            elif event.state != "note" and event.step in tasks:
                bars.remove_task(tasks.pop(event.step))
            if _wanted(event, verbose):
                style = {"failed": "red", "note": "dim", "skipped": "yellow"}.get(event.state)
                console.print(escape(line(event, time.monotonic() - began, color=False)), style=style)

    with bars:
        yield listen
