"""Where the time went: steps of the harness as bars."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from harness.model.records import Event
from reports.model import Bar, Timeline, Tone
from reports.panels.verdict import moment

_MOST_BARS = 80
_STATES: dict[str, Tone] = {"ok": "good", "failed": "bad", "skipped": "muted"}

_TITLES: Final = {
    "components": "Fetch or build the programs",
    "up": "Bring up the cluster",
    "apply": "Apply the labs",
    "ansible": "Apply the labs with Ansible",
    "labs": "Labs",
    "trace": "Trace packets",
    "test": "Test the network",
    "conformance": "Test the network",
    "faults": "Test the suite with faults",
    "mutation": "Test the suite with faults",
    "collect": "Collect",
    "report": "Report",
    "down": "Take the cluster down",
}


def timeline(events: list[Event]) -> Timeline | None:
    """The timeline; None without steps.

    Args:
        events: All of the run, in the order in which they were written.
    """
    times = [when for event in events if (when := moment(event.at))]
    if not times:
        return None
    starts = [_shift(when, -(event.seconds or 0.0)) for event in events if (when := moment(event.at))]
    first = min(starts)
    bars = _bars(events, first, (max(times) - first).total_seconds())
    if not bars:
        return None
    total = max(bar.end for bar in bars)
    kept = sorted(bars, key=lambda bar: (bar.tone != "bad", bar.depth > 1, bar.start - bar.end))[:_MOST_BARS]
    left_out = len(bars) - len(kept)
    kept += _missing_phases(kept)
    phases: dict[str, list[Bar]] = {}
    for bar in sorted(kept, key=lambda bar: (bar.start, bar.depth, -bar.end, bar.step)):
        phases.setdefault(bar.step.partition(".")[0], []).append(bar)
    notes = tuple(
        ((when - first).total_seconds(), event.title or event.step)
        for event in events
        if event.state == "note" and (when := moment(event.at))
    )
    return Timeline(
        phases=tuple((phase, tuple(found)) for phase, found in phases.items()),
        total=total,
        notes=notes,
        left_out=left_out,
    )


def _shift(when: datetime, seconds: float) -> datetime:
    return when + timedelta(seconds=seconds)


def _bars(events: list[Event], first: datetime, last: float) -> list[Bar]:
    """One bar per step; a step that never ended reaches to the last event and is told apart."""
    bars: list[Bar] = []
    opened: dict[str, list[tuple[float, Event]]] = {}
    for event in events:
        when = moment(event.at)
        if when is None:
            continue
        at = (when - first).total_seconds()
        if event.state == "started":
            opened.setdefault(event.step, []).append((at, event))
        elif event.state in _STATES:
            begun = opened.get(event.step)
            start = begun.pop()[0] if begun else at - (event.seconds or 0.0)
            bars.append(_bar(event, start, at, event.state, _STATES[event.state]))
    for left in opened.values():
        bars += [_bar(event, at, max(last, at), "did not end", "warn") for at, event in left]
    names = {bar.step for bar in bars} | {bar.step.partition(".")[0] for bar in bars}
    return [replace(bar, depth=sum(bar.step.startswith(f"{other}.") for other in names)) for bar in bars]


def _missing_phases(bars: list[Bar]) -> list[Bar]:
    """A bar around the steps of each phase that recorded only its parts."""
    known = {bar.step for bar in bars}
    parts: dict[str, list[Bar]] = {}
    for bar in bars:
        parts.setdefault(bar.step.partition(".")[0], []).append(bar)
    return [
        Bar(
            step=phase,
            title=_TITLES.get(phase, phase),
            start=min(bar.start for bar in found),
            end=max(bar.end for bar in found),
            depth=0,
            tone=next((bar.tone for bar in found if bar.tone == "bad"), "good"),
            state="ok",
        )
        for phase, found in parts.items()
        if phase not in known
    ]


def _title(event: Event) -> str:
    title = event.title or event.step
    return title[:1].upper() + title[1:]


def _bar(event: Event, start: float, end: float, state: str, tone: Tone) -> Bar:
    return Bar(event.step, _title(event), max(0.0, start), max(start, end), event.step.count("."), tone, state)
