"""`cnilab score`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.command import command as define
from harness.cli.context import say
from harness.cli.output import Listing, emit, output_option

if TYPE_CHECKING:
    from harness.steps.faults.cases import Scored


@define(
    "score",
    examples="""
    cnilab test --faults --explain --cases cases
    cnilab score cases
    cnilab score cases/F40 -o json
    cnilab score cases --least 95
    """,
)
@click.argument(
    "directories",
    metavar="DIRECTORY...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--least", type=click.FloatRange(0, 100), help="Percent of cases in which the cause must be named first.")
@output_option()
def command(directories: Sequence[Path], *, least: float | None, output: str) -> int:
    """Look for what was broken among the causes that this version tells. No cluster is needed.

    A case is a directory that 'cnilab test --faults --explain --cases' stored: what was seen under a fault, and
    answer.json. DIRECTORY is a case or has cases. NAMED is the place of what was broken among the causes.

    Exit code 1 means that the cause was named first in fewer cases than --least says.
    """
    from harness.steps.faults.cases import found, score  # noqa: PLC0415

    scores = [score(case) for case in found(directories)]
    first = sum(one.named == 1 for one in scores)
    rows = [(one.path.name, _place(one), one.answer.title, one.causes[0].key if one.causes else "-") for one in scores]
    emit(
        Listing(
            "Score",
            ("case", "named", "broken", "first cause"),
            rows,
            [_item(one) for one in scores],
            extra={"cases": len(scores), "first": first},
        ),
        output,
        empty="",
    )
    say(_summary(scores, first))
    return 1 if least is not None and first < least * len(scores) / 100 else 0


def _place(one: Scored) -> str:
    return f"{one.named}. of {len(one.causes)}" if one.named else f"no, of {len(one.causes)}"


def _item(one: Scored) -> dict[str, Any]:
    return {
        "case": one.path.name,
        "answer": one.answer.model_dump(mode="json", by_alias=True),
        "named": one.named,
        "causes": [cause.model_dump(mode="json") for cause in one.causes],
        "then": list(one.then),
    }


def _summary(scores: Sequence[Scored], first: int) -> str:
    """How often, and how that compares with what was told when the cases were stored."""
    near = sum(one.named in {2, 3} for one in scores)
    later = sum(one.named > 3 for one in scores)
    none = sum(one.named == 0 for one in scores)
    changed = [one.path.name for one in scores if tuple(cause.key for cause in one.causes) != one.then]
    share = f"{first} of {len(scores)} cases ({100 * first // len(scores)} %)"
    lines = [f"The cause is named first in {share}, second or third in {near}, later in {later}, not at all in {none}."]
    if held := [one for one in scores if one.answer.held]:
        lines += [f"Of those that were held out, first in {sum(one.named == 1 for one in held)} of {len(held)}."]
    if changed:
        lines += [f"Other causes than when the case was stored: {', '.join(changed)}."]
    return "\n".join(lines)
