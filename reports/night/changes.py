"""What changed in a cell since its last run with verdicts: in a nightly, the first question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from reports import marks
from reports.model import Mark
from reports.night.cells import Cell
from reports.night.history import BROKEN, UNTRIED, Entry, before
from reports.night.model import CellChanges, ChangeGroup, ChangeItem
from reports.text import Ids, duration, slug

NEW_FAILURE: Final = Mark("bad", "✗", "new failure")
LAB_FAILED: Final = Mark("lab", "!", "the cluster failed")
NO_VERDICT: Final = Mark("lab", "!", "no verdict now")
ADVICE: Final = Mark("warn", "✗", "recommendation no longer met")
NEWLY_FLAKY: Final = Mark("warn", "~", "newly flaky")
NEWLY_SKIPPED: Final = Mark("warn", "–", "newly skipped")
REMOVED: Final = Mark("note", "−", "removed")
SLOWER: Final = Mark("warn", "↓", "slower")
FIXED: Final = Mark("good", "✓", "fixed")
STEADY: Final = Mark("good", "✓", "stable again")
TRIED: Final = Mark("good", "✓", "judged again after a break")
ADDED: Final = Mark("note", "+", "new")

ORDER: Final = (
    LAB_FAILED, NEW_FAILURE, NO_VERDICT, ADVICE, NEWLY_FLAKY, NEWLY_SKIPPED, SLOWER, FIXED, STEADY, TRIED, ADDED,
    REMOVED,
)  # fmt: skip

_BAD_NEWS: Final = {
    "fail": NEW_FAILURE,
    "error": NO_VERDICT,
    "advice": ADVICE,
    "flaky": NEWLY_FLAKY,
    "skip": NEWLY_SKIPPED,
    "not-applicable": NEWLY_SKIPPED,
}

MOST: Final = 12
"""Items of a group on the page."""

SLOWER_BY: Final = 1.2
SLOWER_SECONDS: Final = 5.0


def changes(cell: Cell, history: Sequence[Entry], ids: Ids) -> CellChanges:
    """Compare a run with the last one of its cell that had verdicts.

    Args:
        cell: The run.
        history: Of all cells.
        ids: Gives the anchor.
    """
    anchor = ids.new("changed", cell.name)
    earlier = [one for one in before(history, cell.entry) if one.verdicts]
    if not earlier:
        return CellChanges(cell.name, anchor, "", "", _failed(cell, None), ())
    last = earlier[-1]
    groups = _failed(cell, last) or tuple(_groups(cell, _baseline(cell.entry, earlier), last))
    return CellChanges(cell.name, anchor, last.id, last.started, groups, tuple(_pins(cell, last)))


def _baseline(now: Entry, earlier: Sequence[Entry]) -> dict[str, str]:
    """What to compare with: requirements with the last run that judged any, labs with the last one that had labs.

    A run without labs says nothing about them, neither as the later one nor as the earlier one.
    """
    found: dict[str, str] = {}
    for labs in (False, True):
        if any(_is_lab(name) == labs for name in now.status):
            parts = ({n: s for n, s in one.status.items() if _is_lab(n) == labs} for one in reversed(earlier))
            found |= next(filter(None, parts), {name: now.status[name] for name in now.status if _is_lab(name) == labs})
    return found


def _is_lab(name: str) -> bool:
    return name.startswith("lab:")


def kind(was: str | None, is_: str | None) -> Mark | None:
    """How a status changed; None when it did not.

    Args:
        was: As the history keeps it; None when the id was not there.
        is_: Likewise, now.
    """
    if was == is_ or (was in UNTRIED and is_ in UNTRIED):
        return None
    if is_ is None:
        return REMOVED
    if was is None and is_ not in BROKEN:
        return ADDED
    if is_ in _BAD_NEWS:
        return _BAD_NEWS[is_]
    return {**dict.fromkeys(BROKEN, FIXED), **dict.fromkeys(UNTRIED, TRIED), "flaky": STEADY}.get(was or "")


def _failed(cell: Cell, last: Entry | None) -> tuple[ChangeGroup, ...]:
    """A cluster that did not get as far as a verdict: one change, not a hundred that are no longer there."""
    if cell.entry.verdicts or cell.verdict.tone != "lab":
        return ()
    item = ChangeItem("", cell.verdict.detail, cell.link("trouble"), last.sentence if last else "", "")
    return (ChangeGroup(LAB_FAILED, (item,)),)


def _groups(cell: Cell, was: dict[str, str], last: Entry) -> list[ChangeGroup]:
    found: dict[Mark, list[ChangeItem]] = {}
    now = cell.entry.status
    for name in (*now, *(one for one in was if one not in now)):
        mark = kind(was.get(name), now.get(name))
        if mark is not None:
            found.setdefault(mark, []).append(_item(cell, name, was.get(name, ""), now.get(name, "")))
    slow = _slower(cell, last)
    if slow:
        found[SLOWER] = slow
    return [
        ChangeGroup(mark, tuple(found[mark][:MOST]), max(0, len(found[mark]) - MOST)) for mark in ORDER if mark in found
    ]


def _item(cell: Cell, name: str, was: str, now: str) -> ChangeItem:
    lab = name.removeprefix("lab:")
    if lab != name:
        card = cell.labs.get(lab)
        title = card.title if card else ""
        return ChangeItem(f"lab {lab}", title, cell.link(card.anchor) if card else "", word(was), word(now))
    item = cell.requirements.get(name)
    href = cell.link(item.anchor if item else slug(f"req-{name}")) if item else ""
    return ChangeItem(
        name, item.statement if item and now in BROKEN else item.title if item else "", href, word(was), word(now)
    )


def word(status: str) -> str:
    """A status of the history as people read it."""
    return {"advice": marks.ADVICE.word, "flaky": "flaky"}.get(status) or (
        marks.of_status(status).word if status else ""
    )


def _slower(cell: Cell, last: Entry) -> list[ChangeItem]:
    items = []
    for phase, seconds in cell.entry.phases.items():
        was = last.phases.get(phase)
        if was and seconds > was * SLOWER_BY and seconds - was > SLOWER_SECONDS:
            items.append(ChangeItem(phase, "", cell.link("timeline"), duration(was), duration(seconds)))
    return items


def _pins(cell: Cell, last: Entry) -> list[ChangeItem]:
    names = [*cell.entry.pins, *(name for name in last.pins if name not in cell.entry.pins)]
    # A cluster that failed early had no use for most of them yet.
    whole = bool(cell.entry.verdicts)
    pairs = [(name, last.pins.get(name, ""), cell.entry.pins.get(name, "")) for name in names]
    return [ChangeItem(name, "", "", was, now) for name, was, now in pairs if was != now and (whole or (was and now))]
