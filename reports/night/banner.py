"""The banner of a night: one sentence about all cells, and one about what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from reports.model import Count, Tone
from reports.night.cells import Cell
from reports.night.changes import FIXED, LAB_FAILED, NEW_FAILURE, NEWLY_FLAKY, NEWLY_SKIPPED, NO_VERDICT
from reports.night.model import Absent, CellChanges, NightVerdict
from reports.panels.verdict import moment
from reports.text import listing, plural


def banner(cells: Sequence[Cell], absent: Sequence[Absent], changed: Sequence[CellChanges]) -> NightVerdict:
    """The verdict of a night.

    Args:
        cells: Its runs.
        absent: Cells without a run.
        changed: What changed in each.
    """
    tones = Counter(cell.verdict.tone for cell in cells)
    kinds: Counter[str] = Counter()
    for one in changed:
        for group in one.groups:
            kinds[group.mark.word] += group.count
    return NightVerdict(
        tone=_tone(tones, absent),
        subject=_subject(cells),
        sentence=_sentence(tones, len(cells)),
        detail=_detail(changed, kinds, absent),
        counts=_counts(cells, kinds, absent),
        started=min((cell.info.started for cell in cells if cell.info.started), default=""),
        seconds=_seconds(cells),
    )


def _tone(tones: Counter[Tone], absent: Sequence[Absent]) -> Tone:
    for tone in ("bad", "lab", "warn"):
        if tones[tone]:
            return tone
    return "good" if tones["good"] else "lab" if absent else "muted"


def _subject(cells: Sequence[Cell]) -> str:
    variants = {cell.info.variant for cell in cells}
    providers = sorted({cell.info.provider for cell in cells})
    if not cells:
        return "No run"
    return f"{plural(len(variants), 'variant')} on {listing(providers)}"


def _sentence(tones: Counter[Tone], count: int) -> str:
    if not count:
        return "no cell ran"
    good = tones["good"] + tones["warn"]
    parts = [f"{good} of {plural(count, 'cell')} {'is' if good == 1 else 'are'} as expected"]
    if tones["bad"]:
        parts.append(f"{tones['bad']} {'fails' if tones['bad'] == 1 else 'fail'}")
    if tones["lab"]:
        parts.append(f"{plural(tones['lab'], 'cluster')} failed")
    if tones["muted"]:
        parts.append(f"{tones['muted']} without any verdict")
    return ", ".join(parts)


def _detail(changed: Sequence[CellChanges], kinds: Counter[str], absent: Sequence[Absent]) -> str:
    known = [one for one in changed if one.since]
    told = [
        f"{count} {one if count == 1 else many}"
        for mark, one, many in (
            (LAB_FAILED, "cluster failed", "clusters failed"),
            (NEW_FAILURE, "new failure", "new failures"),
            (NO_VERDICT, "without a verdict now", "without a verdict now"),
            (NEWLY_FLAKY, "newly flaky", "newly flaky"),
            (NEWLY_SKIPPED, "newly skipped", "newly skipped"),
            (FIXED, "fixed", "fixed"),
        )
        if (count := kinds[mark.word])
    ]
    sentences = []
    if not known and changed:
        sentences.append("There is no earlier run for comparison.")
    elif told:
        sentences.append(f"Since the last run of each cell: {listing(told)}.")
    elif known:
        sentences.append("No verdict changed since the last run of each cell.")
    if absent:
        sentences.append(f"{plural(len(absent), 'planned cell')} did not run; the reasons are listed.")
    return " ".join(sentences)


def _counts(cells: Sequence[Cell], kinds: Counter[str], absent: Sequence[Absent]) -> tuple[Count, ...]:
    held = sum(cell.entry.held for cell in cells)
    judged = sum(cell.entry.judged for cell in cells)
    labs = [card for cell in cells for card in cell.labs.values() if card.status != "skip"]
    good = sum(card.mark.tone in ("good", "note") for card in labs)
    counts: list[tuple[bool, str, str, Tone]] = [
        (bool(judged), f"{held:,}/{judged:,}", "requirements hold", _held(cells)),
        (bool(labs), f"{good:,}/{len(labs):,}", "labs as expected", "good" if good == len(labs) else "bad"),
        (bool(kinds[NEW_FAILURE.word]), str(kinds[NEW_FAILURE.word]), "new failures", "bad"),
        (bool(kinds[FIXED.word]), str(kinds[FIXED.word]), "fixed", "good"),
        (bool(kinds[NEWLY_FLAKY.word]), str(kinds[NEWLY_FLAKY.word]), "newly flaky", "warn"),
        (bool(kinds[NEWLY_SKIPPED.word]), str(kinds[NEWLY_SKIPPED.word]), "newly skipped", "warn"),
        (bool(absent), str(len(absent)), "not run", "muted"),
    ]
    return tuple(Count(value, label, tone) for shown, value, label, tone in counts if shown)


def _held(cells: Sequence[Cell]) -> Tone:
    items = [item for cell in cells for item in cell.requirements.values()]
    if any(item.status == "fail" and item.level == "MUST" for item in items):
        return "bad"
    return "warn" if any(item.status in ("fail", "error") for item in items) else "good"


def _seconds(cells: Sequence[Cell]) -> float | None:
    starts = [when for cell in cells if (when := moment(cell.info.started))]
    ends = [
        when + timedelta(seconds=cell.verdict.seconds)
        for cell in cells
        if (when := moment(cell.info.started)) and cell.verdict.seconds is not None
    ]
    return (max(ends) - min(starts)).total_seconds() if starts and ends else None
