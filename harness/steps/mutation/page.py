"""`docs/mutation.md`, made from `docs/mutation.json`: `python -m harness.steps.mutation.page > docs/mutation.md`.

All but the last lines is pure.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from conformance.registry import CHECKS
from harness.faults.catalogue import faults
from harness.faults.model import Fault, split_target
from harness.model.mutation import Cell, Column, MutationTable
from harness.steps.mutation.table import Score, score, unkilled

HEAD: Final = """# Mutation table

How good is the suite itself? `cnilab mutate` brings up a cluster, breaks it with each [fault](faults.md) in turn, and
judges all checks that can fail there. A fault is *killed* if every check that must notice did, and no other check
failed but those of which the catalogue says why (`also`).

This page is made from `docs/mutation.json` by `python -m harness.steps.mutation.page`. The data is measured, by
`cnilab mutate --write docs/mutation.md`; nothing of it is written by hand. A network without a column was not run, and
neither was a fault with an empty cell.
"""

WORDS: Final[Mapping[str, str]] = {
    "killed": "killed",
    "survived": "**survived**",
    "imprecise": "**imprecise**",
    "equivalent": "equivalent",
    "not-applicable": "not applicable",
    "error": "**error**",
}
"""Outcomes as the table has them."""

SHOWN: Final = 4
"""Checks that a cell lists; the report of a run has all."""


def page(table: MutationTable, catalogue: Sequence[Fault]) -> str:
    """The whole page.

    Args:
        table: The data.
        catalogue: Faults in their order.
    """
    order = [fault.id for fault in catalogue]
    parts = (
        HEAD,
        "## Score\n",
        *_scores(table.columns, order),
        SCORE,
        "## Clusters\n",
        *_clusters(table.columns),
        *_changes(table),
        *_named(table.columns),
        "## Faults\n",
        CELLS,
        *_faults(table.columns, catalogue),
        *_reasons(table.columns),
        "## Checks that no fault killed\n",
        *_unkilled(table.columns, catalogue),
    )
    return "\n".join(parts).rstrip() + "\n"


SCORE: Final = """
*Score* is the part of the injected faults that every check noticed that must. *Precise* is the part of these that made
no other check fail. What a network cannot show counts in neither.
"""

CELLS: Final = """A cell names the checks that killed the fault, and how many more failed beside them, as the catalogue
says they may. A check is without a verdict if it had nothing to judge: where no answer comes, nobody can say under
which address the sender was seen.
"""


def _scores(columns: Iterable[Column], order: Sequence[str]) -> Iterator[str]:
    yield from _table_head(
        "network", "score", "precise", "killed", "survived", "imprecise", "equivalent", "not applicable", "error",
        "not run", "checks",
    )  # fmt: skip
    for one in columns:
        found = score(one, order)
        counts = [str(found.counts.get(word, 0)) for word in WORDS]
        yield _row(one.variant, *_rates(found), *counts, str(found.missing), str(len(one.checks)))


def _rates(found: Score) -> tuple[str, str]:
    return _rate(found.noticed, found.injected), _rate(found.precise, found.noticed)


def _rate(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.1f} %)" if whole else "-"


def _clusters(columns: Iterable[Column]) -> Iterator[str]:
    yield from _table_head("network", "run", "time", "Kubernetes", "programs", "kernel", "nodes", "cnilab")
    for one in columns:
        days = sorted({cell.at[:10] for cell in one.cells})
        day = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else "-"
        took = f"{sum(cell.seconds for cell in one.cells) / 60:.0f} min"
        programs = ", ".join(f"{name} {version}" for name, version in sorted(one.versions.items()))
        yield _row(
            one.variant, day, took, one.kubernetes, programs or "-", one.kernel, str(one.nodes), one.program or "-"
        )
    yield ""


NAMED: Final = """With `--explain`, the suite also tells [causes](why.md) under each fault. *First* is the part of the
faults for which the first cause names the thing that was broken, by a key that the fault declares (`blames`) and not by
words.
"""


def _named(columns: Sequence[Column]) -> Iterator[str]:
    """How often the cause was named, on networks where it was asked for."""
    asked = [(one, [cell.named for cell in one.cells if cell.named is not None]) for one in columns]
    if not any(places for _, places in asked):
        return
    yield "## Causes\n"
    yield NAMED
    yield from _table_head("network", "first", "second or third", "later", "not named", "faults")
    for one, places in asked:
        first, near = places.count(1), places.count(2) + places.count(3)
        none = places.count(0)
        later = len(places) - first - near - none
        yield _row(one.variant, _rate(first, len(places)), str(near), str(later), str(none), str(len(places)))
    yield ""


def _changes(table: MutationTable) -> Iterator[str]:
    if not table.before:
        return
    yield f"## Changes since {table.before[:10]}\n"
    yield from (f"- {text}" for text in table.changes or ("none",))
    yield ""


def _faults(columns: Sequence[Column], catalogue: Sequence[Fault]) -> Iterator[str]:
    yield from _table_head("fault", "what is broken", *(one.variant for one in columns))
    by_id = [{cell.fault: cell for cell in one.cells} for one in columns]
    for fault in catalogue:
        cells = [_cell(found.get(fault.id)) for found in by_id]
        yield _row(f"`{fault.id}` {fault.name}", fault.title, *cells)
    yield ""


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    word = WORDS[cell.outcome]
    if cell.outcome in {"equivalent", "not-applicable", "error"}:
        return word
    told = [word, _listed(cell.killed_by)] if cell.killed_by else [word]
    more = len(set(cell.beside))
    said = ": ".join(told) + (f"; {more} beside" if more else "")
    said += f"; {len(cell.unjudged)} without a verdict" if cell.unjudged else ""
    said += (
        "" if cell.named is None else f"; cause {cell.named} of {cell.causes}" if cell.named else "; cause not named"
    )
    said += f"; missed by {_listed(cell.survived)}" if cell.survived else ""
    return said + (f"; too many: {_listed(cell.imprecise)}" if cell.imprecise else "")


def _listed(targets: Sequence[str]) -> str:
    names = [f"`{name}`" for name in dict.fromkeys(split_target(target)[0] for target in targets)]
    left = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {left} more" if left > 0 else "")


def _reasons(columns: Iterable[Column]) -> Iterator[str]:
    """Why a fault says nothing on a network, by reason."""
    for one in columns:
        by_reason: dict[tuple[str, str], list[str]] = {}
        for cell in one.cells:
            if cell.outcome in {"equivalent", "not-applicable", "error"}:
                by_reason.setdefault((cell.outcome, cell.reason), []).append(cell.fault)
        if by_reason:
            yield f"### Without a verdict on {one.variant}\n"
            yield from _table_head("outcome", "reason", "faults")
            for (outcome, reason), found in by_reason.items():
                yield _row(WORDS[outcome], reason or "**none given**", ", ".join(found))
            yield ""


def _unkilled(columns: Iterable[Column], catalogue: Sequence[Fault]) -> Iterator[str]:
    for one in columns:
        yield f"### {one.variant}\n"
        names = unkilled(one)
        if names:
            yield from _table_head("check", "faults that should kill it", "failed beside others", "inverted probe")
            yield from (_row(f"`{name}`", *_story(name, one, catalogue)) for name in names)
            yield ""
        else:
            yield f"None: each of the {len(one.checks)} checks was killed by a fault.\n"
        if one.unsteady:
            yield f"Not judged, as they did not pass before the first fault: {_listed(one.unsteady)}.\n"
        if one.recorded:
            yield f"Only recorded, so that they cannot fail: {', '.join(f'`{name}`' for name in one.recorded)}.\n"


def _story(name: str, one: Column, catalogue: Sequence[Fault]) -> tuple[str, str, str]:
    """What became of the faults that should kill a check, under which others it failed, and its inverted probe."""
    outcomes = {cell.fault: WORDS[cell.outcome] for cell in one.cells}
    wanted = [fault.id for fault in catalogue if any(split_target(target)[0] == name for target in fault.kills)]
    told = [f"{fault} {outcomes.get(fault, 'not run')}" for fault in wanted]
    beside = [cell.fault for cell in one.cells if name in cell.beside]
    check = CHECKS.get(name)
    return ", ".join(told) or "-", ", ".join(beside[:SHOWN]) or "-", check.inverse if check and check.inverse else "-"


def _table_head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield f"|{'---|' * len(names)}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def summary(table: MutationTable, catalogue: Sequence[Fault]) -> str:
    """A few lines for a terminal: scores, and what is new."""
    order = [fault.id for fault in catalogue]
    lines = []
    for one in table.columns:
        found = score(one, order)
        noticed, precise = _rates(found)
        lines.append(f"{one.variant}: {noticed} noticed, {precise} precise, {found.missing} not run")
    if table.before:
        told = table.changes or ("nothing",)
        lines.append(f"new since {table.before[:10]}:")
        lines += [f"  {text}" for text in told]
    return "\n".join(lines)


if __name__ == "__main__":
    data = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/mutation.json")
    sys.stdout.write(page(MutationTable.model_validate_json(data.read_bytes()), faults()))
