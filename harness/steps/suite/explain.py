"""Why requirements are not met, from what a run has seen: no cluster is asked."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.causes.explain import explain
from conformance.context import seen_by
from harness.model.cause import Cause
from harness.model.journal import Journal
from harness.model.records import Result
from harness.model.run import RunDir

RED = frozenset({"fail", "error"})
"""Verdicts that want an explanation."""


def explained(run: RunDir, results: Sequence[Result]) -> tuple[Cause, ...]:
    """Causes of what failed; none where nothing did, or where the run has seen nothing.

    Args:
        run: Has the observations.
        results: Verdicts on them.
    """
    if not any(one.status in RED for one in results):
        return ()
    try:
        context = seen_by(run)
    except LookupError:
        return ()
    return explain(context, results)


def explain_run(run: RunDir, results: Sequence[Result], journal: Journal) -> tuple[Cause, ...]:
    """The same, kept in the run directory: also that there are none.

    Args:
        run: Has the observations, and gets the causes.
        results: Verdicts on them.
        journal: Gets a step, where there is something to explain.
    """
    if not any(one.status in RED for one in results):
        run.write_causes(())
        return ()
    with journal.step("test.explain", "causes of what failed") as detail:
        causes = explained(run, results)
        run.write_causes(causes)
        detail["causes"] = [one.key for one in causes]
    return causes
