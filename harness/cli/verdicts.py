"""What a run of the suite has to say, and the exit code that it amounts to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from harness.cli.context import say
from harness.cli.output import Listing, emit
from harness.errors import BringUpError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.model.cause import Cause
    from harness.model.records import Result


def conclude(results: list[Result], causes: Sequence[Cause], output: str, *, strict: bool) -> int:
    """Show what is wrong, and results; the exit code that they amount to.

    Args:
        results: In the order of the catalogue.
        causes: Why some of them are not met, the cause of most first.
        output: Which form.
        strict: A failed SHOULD counts as failed.
    """
    people = output in {"table", "wide"}
    if people:
        tell(causes[:SHOWN])
    emit(_results(results, causes), output, empty="No requirement matches.")
    if people:
        say(_summary(results, causes))
    counted = {"M", "S"} if strict else {"M"}
    if any(one.status == "fail" and one.level in counted for one in results):
        return 1
    # No verdict is the cluster's fault, not the network's.
    return BringUpError.exit_code if any(one.status == "error" and one.level in counted for one in results) else 0


SHOWN: Final = 5
"""Causes that a terminal has room for; the report has all."""


def tell(causes: Sequence[Cause]) -> None:
    """Print causes for people, the first one first."""
    for number, cause in enumerate(causes, 1):
        click.echo(told(number, cause))


def told(number: int, cause: Cause) -> str:
    """A cause for the terminal: the sentence, what shows and what mends it, and what follows from it.

    Args:
        number: In the list.
        cause: The cause.
    """
    head = {"certain": "Cause", "observed": "Cause", "possible": "Possible cause", "unexplained": "Unexplained"}
    lines = [f"{head[cause.confidence]} {number}: {cause.sentence}"]
    lines += [f"  see:     {_at(cause, cause.look)}"] if cause.look else []
    lines += [f"  mend:    {_at(cause, cause.mend)}"] if cause.mend else []
    listed = ", ".join(cause.follows[:6]) + (", …" if len(cause.follows) > 6 else "")
    lines += [f"  follows: {len(cause.follows)} not met: {listed}"] if cause.follows else []
    return "\n".join([*lines, ""])


def _at(cause: Cause, text: str) -> str:
    """A command with the place where it is typed; kubectl is typed anywhere, and a sentence says itself where."""
    from harness.model.cause import typed  # noqa: PLC0415 - the help must not wait for pydantic

    here = cause.place and typed(text) and not text.startswith("kubectl")
    return f"on {cause.place}: {text}" if here else text


def _results(results: list[Result], causes: Sequence[Cause]) -> Listing:
    rows = [
        (
            one.id,
            one.status,
            f"{one.tested}/{one.total}" if one.total else "-",
            one.title,
            _reason(one),
            one.statement,
        )
        for one in results
    ]
    items = [one.model_dump(mode="json", by_alias=True) for one in results]
    extra = {"causes": [one.model_dump(mode="json") for one in causes]} if causes else {}
    columns = ("id", "status", "legs", "requirement", "reason")
    return Listing("Result", columns, rows, items, wide=("statement",), extra=extra)


def _reason(one: Result) -> str:
    """Why a requirement is not met, and in which family where it is met in the other one."""
    from harness.model.family import listed  # noqa: PLC0415 - the help must not wait for it

    bad = [family for family, status in one.families.items() if status in {"fail", "error", "skip"}]
    reason = one.reason or one.blocked_by or "-"
    apart = one.status in {"fail", "error", "skip"} and 0 < len(bad) < len(one.families)
    return f"{reason} ({listed(bad)})" if apart else reason


def _summary(results: list[Result], causes: Sequence[Cause]) -> str:
    counts = {status: sum(one.status == status for one in results) for status in ("pass", "fail", "error")}
    skipped = sum(one.status == "skip" for one in results)
    rest = len(results) - sum(counts.values()) - skipped
    words = [f"{counts['pass']} of {len(results)} as required", f"{counts['fail']} failed"]
    words += [f"{counts['error']} could not be judged"] if counts["error"] else []
    words += [f"{skipped} skipped"] if skipped else []
    words += [f"{rest} not applicable here"] if rest else []
    text = ", ".join(words)
    first = next((one for one in causes if one.confidence != "unexplained"), None)
    return f"{text}. First cause: {first.sentence}" if first is not None else text
