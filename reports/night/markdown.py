"""A night in Markdown: the summary of a CI job, and the parity table for a repository's docs."""

from __future__ import annotations

from collections.abc import Sequence

from reports.escape import code, fit, plain
from reports.model import Mark
from reports.night.model import CellChanges, CellRow, ChangeItem, GridCell, Night, Parity
from reports.text import clock, duration, plural

_MOST_FAILURES = 40


def summary(night: Night) -> str:
    """Verdict, what changed, cells, what is not run; then what fails everywhere.

    Args:
        night: From `reports.night.build.build`.

    Returns:
        At most `reports.escape.LIMIT` bytes; what does not fit is left out from the end, and the text says so.
    """
    verdict = night.verdict
    facts = [clock(verdict.started), f"took {duration(verdict.seconds)}" if verdict.seconds else ""]
    parts = [
        f"## {plain(verdict.subject)}: {plain(verdict.sentence)}\n\n",
        f"{plain(' '.join(word for word in (verdict.detail, ', '.join(filter(None, facts))) if word))}\n\n",
    ]
    parts += _changes(night.changes)
    parts += _cells(night)
    parts += _absent(night)
    parts += _attention(night)
    if night.flaky:
        parts.append("\n### Flaky\n\n| Test | Cell | Score | |\n|---|---|---:|---|\n")
        parts += [f"| `{code(t.id)}` | {plain(t.cell)} | {t.score:.2f} | {plain(t.summary)} |\n" for t in night.flaky]
    return fit(parts)


def _changes(changed: Sequence[CellChanges]) -> list[str]:
    rows = [
        f"| {plain(one.cell)} | {group.mark.glyph} {plain(group.told)} | {_items(group.items)}"
        f"{f' and {group.more} more' if group.more else ''} |\n"
        for one in changed
        for group in one.groups
    ]
    rows += [
        f"| {plain(one.cell)} | {plural(len(one.pins), 'other version')} | {_pins(one.pins)} |\n"
        for one in changed
        if one.pins
    ]
    return ["### What changed\n\n", "| Cell | | What |\n|---|---|---|\n", *rows, "\n"] if rows else []


def _items(items: Sequence[ChangeItem]) -> str:
    return ", ".join(f"`{code(one.id)}`" if one.id else plain(one.title) for one in items)


def _pins(pins: Sequence[ChangeItem]) -> str:
    told = [f"{plain(one.id)} {plain(one.before or 'none')} → {plain(one.now or 'none')}" for one in pins[:6]]
    return ", ".join(told) + (f" and {len(pins) - 6} more" if len(pins) > 6 else "")


def _cells(night: Night) -> list[str]:
    if not night.cells:
        return []
    rows = [
        f"| {one.mark.glyph} {plain(one.name)} | {_verdict(one)} | {one.labs.text or '–'} | {one.took or '–'} |\n"
        for one in night.cells
    ]
    return ["### Cells\n\n| Cell | Verdict | Labs | Took |\n|---|---|---:|---:|\n", *rows, "\n"]


def _verdict(cell: CellRow) -> str:
    return plain(cell.sentence) + (f". Cause: {plain(cell.cause)}" if cell.cause else "")


def _absent(night: Night) -> list[str]:
    if not night.absent:
        return []
    rows = [f"| {plain(one.name)} | {plain(one.reason)} |\n" for one in night.absent]
    return ["### Not run\n\n| Cell | Why |\n|---|---|\n", *rows, "\n"]


def _attention(night: Night) -> list[str]:
    rows = [row for area in night.grid for row in area.rows if row.needs_attention]
    if not rows:
        return []
    names = [cell.name for cell in night.cells]
    parts = [f"<details><summary>{plural(len(rows), 'requirement')} to look at</summary>\n\n"]
    for row in rows[:_MOST_FAILURES]:
        where = [f"{cell.mark.glyph} {name}" for name, cell in zip(names, row.cells, strict=True) if _bad(cell.mark)]
        parts.append(f"- `{code(row.id)}` {plain(row.title)}: {plain(', '.join(where))}\n")
    return [*parts, "\n</details>\n"]


def _bad(mark: Mark) -> bool:
    return mark.tone in ("bad", "warn", "lab")


def parity(table: Parity | None) -> str:
    """Labs by cells, with a reason for each hole.

    Args:
        table: Of a night; None gives a sentence that says so.
    """
    if table is None:
        return "# Labs by cells\n\nNo lab is known.\n"
    used = sorted({cell.why for row in table.rows for cell in row.cells if cell.why})
    lines = [
        "# Labs by cells\n",
        f"| Lab | {' | '.join(map(plain, table.columns))} |",
        f"|---|{':-:|' * len(table.columns)}",
        *(f"| `{code(row.id)}` | {' | '.join(_square(cell) for cell in row.cells)} |" for row in table.rows),
        "",
        "✓ as expected, • recorded, ✗ not as expected, ! broken; a number: not run, for the reason below.",
    ]
    if used:
        lines += ["", "## Reasons", "", *(f"{number}. {plain(table.reasons[number - 1])}" for number in used)]
    return "\n".join(lines) + "\n"


def _square(cell: GridCell) -> str:
    return f"<sup>{cell.why}</sup>" if cell.why else cell.mark.glyph
