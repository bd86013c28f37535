"""What a run of the suite has to say, and the exit code that it amounts to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cli.context import say
from harness.cli.output import Listing, emit
from harness.errors import BringUpError

if TYPE_CHECKING:
    from harness.model.records import Result


def conclude(results: list[Result], output: str, *, strict: bool) -> int:
    """Show results; the exit code that they amount to.

    Args:
        results: In the order of the catalogue.
        output: Which form.
        strict: A failed SHOULD counts as failed.
    """
    emit(_results(results), output, empty="No requirement matches.")
    if output in {"table", "wide"}:
        say(_summary(results))
    counted = {"M", "S"} if strict else {"M"}
    if any(one.status == "fail" and one.level in counted for one in results):
        return 1
    # No verdict is the cluster's fault, not the network's.
    return BringUpError.exit_code if any(one.status == "error" and one.level in counted for one in results) else 0


def _results(results: list[Result]) -> Listing:
    rows = [
        (
            one.id,
            one.status,
            f"{one.tested}/{one.total}" if one.total else "-",
            one.title,
            one.reason or one.blocked_by or "-",
            one.statement,
        )
        for one in results
    ]
    items = [one.model_dump(mode="json", by_alias=True) for one in results]
    return Listing("Result", ("id", "status", "legs", "requirement", "reason"), rows, items, wide=("statement",))


def _summary(results: list[Result]) -> str:
    counts = {status: sum(one.status == status for one in results) for status in ("pass", "fail", "error")}
    skipped = sum(one.status == "skip" for one in results)
    rest = len(results) - sum(counts.values()) - skipped
    words = [f"{counts['pass']} of {len(results)} as required", f"{counts['fail']} failed"]
    words += [f"{counts['error']} could not be judged"] if counts["error"] else []
    words += [f"{skipped} skipped"] if skipped else []
    words += [f"{rest} not applicable here"] if rest else []
    return ", ".join(words)
