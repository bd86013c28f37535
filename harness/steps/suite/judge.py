"""Verdicts on what a run has seen, with this version's judges: no cluster is asked, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from conformance.context import Context, seen_by
from conformance.judging import judge_all
from conformance.model import Check
from conformance.registry import CHECKS
from conformance.registry import select as choose
from harness.errors import UsageError
from harness.model.journal import TEST
from harness.model.records import Event, Result
from harness.model.run import RunDir

SELECT: Final = "select"
"""Of its detail: the requirements that were asked for, as the user gave them."""

NO_VERDICT: Final = frozenset({"wall_ms", "at"})
"""Of a result: when it was judged, and what that cost. It differs each time, and says nothing about the network."""


@dataclass(frozen=True)
class Difference:
    """A verdict that is another one than the run has.

    Args:
        id: The requirement.
        then: As it is in `results.jsonl`.
        now: As it is with the judges of this version.
        fields: Of the result, those that differ.
    """

    id: str
    then: Result
    now: Result
    fields: tuple[str, ...]

    def __str__(self) -> str:
        """`model.loss: pass, now fail`; where the status is the same, what else differs."""
        if self.then.status != self.now.status:
            return f"{self.id}: {self.then.status}, now {self.now.status}"
        return f"{self.id}: {self.now.status} as before, but with another {', '.join(self.fields)}"


@dataclass(frozen=True)
class Judged:
    """What judging a run again gave.

    Args:
        results: In the order of the catalogue; the same bytes each time.
        differences: From the verdicts that the run has.
        compared: How many of the results the run has, too.
    """

    results: list[Result]
    differences: list[Difference]
    compared: int


def judge_run(run: RunDir, select: str | None = None) -> Judged:
    """Judge a run's last look at its cluster.

    Args:
        run: A run of `cnilab test`.
        select: Ids, areas or patterns, separated by commas; empty for all, None for those that were asked for then.

    Raises:
        UsageError: `select` matches nothing, or the run has no observations, or is damaged.
    """
    try:
        kept = {one.id: one for one in run.results()}
        context = seen_by(run)
        checks = choose(select) if select is not None else _of_last_look(run, context)
    except LookupError as error:
        msg = f"{run.path.name} has nothing to judge"
        step = "run 'cnilab test' first: it keeps what it sees in the run directory"
        raise UsageError(msg, cause=str(error), where=str(run.path), next_step=step) from error
    results = [_timeless(one, kept.get(one.id)) for one in judge_all(context, checks, CHECKS)]
    pairs = [(kept[one.id], one) for one in results if one.id in kept]
    different = [Difference(now.id, then, now, found) for then, now in pairs if (found := _different(then, now))]
    return Judged(results, different, len(pairs))


def _timeless(now: Result, then: Result | None) -> Result:
    """A verdict that is the same each time: it is of the moment when the run was judged, and costs nothing."""
    return now.model_copy(update={"wall_ms": 0.0, "at": then.at if then is not None else ""})


def _of_last_look(run: RunDir, context: Context) -> list[Check]:
    """What the last `cnilab test` of a run was asked for; where it does not say that, all that it can have judged."""
    words = asked(run.events())
    if words is not None:
        return choose(words)
    seen = {one.batch for one in context.observations}
    return [check for check in CHECKS.values() if seen.issuperset(check.batches)]


def asked(events: Iterable[Event]) -> str | None:
    """What the last `cnilab test` of a run was asked for: empty for all; None where the version then did not say.

    Args:
        events: Of the run.
    """
    details: list[Mapping[str, Any]] = [one.detail for one in events if one.step == TEST and one.state == "started"]
    return details[-1].get(SELECT) if details else None


def _different(then: Result, now: Result) -> tuple[str, ...]:
    before, after = then.model_dump(exclude=set(NO_VERDICT)), now.model_dump(exclude=set(NO_VERDICT))
    return tuple(name for name in before if before[name] != after[name])
