"""Many at once: numbered datagrams counted where they arrive, and connections one after the other and in parallel."""

from __future__ import annotations

from harness.model.records import Burst, Churn, Observation
from reports import marks
from reports.model import LoadRow, Mark
from reports.text import micros, plural


def load(observations: list[Observation]) -> tuple[LoadRow, ...]:
    """Bursts and churns, in the order in which they were made.

    Args:
        observations: All of the run.
    """
    rows: list[LoadRow] = []
    for item in observations:
        if isinstance(item, Burst):
            rows.append(_burst(item))
        elif isinstance(item, Churn):
            rows.append(_churn(item))
    return tuple(sorted(rows, key=lambda row: row.what))


def _mark(*, good: bool) -> Mark:
    return marks.PASS if good else Mark("bad", "✗", "not all")


def _over(item: Burst | Churn) -> str:
    return ", over IPv6" if item.family == "ipv6" else ""


def _burst(item: Burst) -> LoadRow:
    arrived = "unknown" if item.received is None else f"{item.received:,}"
    twice = f", {plural(item.duplicates, 'duplicate')}" if item.duplicates else ""
    return LoadRow(
        src=item.src,
        dst=item.dst,
        what=f"datagrams, one way{_over(item)}",
        mark=_mark(good=item.outcome == "ok"),
        result=f"{arrived} of {item.sent:,} arrived{twice}",
        detail=item.detail,
    )


def _churn(item: Churn) -> LoadRow:
    asked = item.sequential + item.parallel
    errors = ", ".join(f"{count} × {name}" for name, count in sorted(item.errors.items()))
    errors += f"{', ' if errors else ''}{item.untried} not tried for lack of time" if item.untried else ""
    times = [f"50 % within {micros(item.p50_us)}" if item.p50_us is not None else ""]
    times.append(f"99 % within {micros(item.p99_us)}" if item.p99_us is not None else "")
    return LoadRow(
        src=item.src,
        dst=item.dst,
        what=f"connections, {item.sequential} in a row and {item.parallel} at once{_over(item)}",
        mark=_mark(good=item.outcome == "ok"),
        result=f"{item.connected:,} of {asked:,} made{f', {errors}' if errors else ''}",
        detail=", ".join(filter(None, [*times, item.detail])),
    )
