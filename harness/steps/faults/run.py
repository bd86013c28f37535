"""`cnilab test --faults`: is the suite itself any good? Break the lab in known ways, and see who notices."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat

from conformance.batches import Batch
from conformance.context import Context
from conformance.families import family_of_leg, leg_of
from conformance.judging import judge_all
from conformance.model import Check
from conformance.reads import reads
from conformance.registry import CHECKS, batches, with_prerequisites
from harness import timeouts
from harness.errors import CnilabError
from harness.faults import catalogue
from harness.faults.inject import Scene, injected
from harness.faults.model import Fault, split_target
from harness.model.expression import ExpressionError
from harness.model.family import Family
from harness.model.injection import require_none
from harness.model.journal import Journal
from harness.model.labstate import LabDir
from harness.model.records import FaultRun, Result
from harness.model.run import RunDir
from harness.steps.faults import names
from harness.steps.faults.scene import missing, scene
from harness.steps.lifecycle.attach import Attached
from harness.steps.suite import deploy as suites
from harness.steps.suite.observe import Pace, observe, wait_for_proxy

HASTY: Mapping[Batch, float] = {"B0": 0.8, "B1": 1.2, "B2": 1.2, "B3": 1.2, "B4": 1.2, "B5": 1.0, "B6": 2.5, "B7": 10.0}
"""Seconds for the probes of a batch under a fault: round trips in a lab take less than a millisecond.

On a busy machine that can be too short. So a fault that was not killed cleanly gets a second look with the usual
deadlines, before anything is said about the suite.
"""

ONLY_IPV4 = "any leg over IPv4"
"""Stands for the legs that no pattern can name: those whose names do not say IPv6."""

MOVING = frozenset({"svc.endpoint-change", "svc.udp-stale"})
"""Checks for which a Service is moved, which takes seconds."""

GREEN_AGAIN = 30.0
"""Seconds until the checks of a fault pass again after it was undone, before scaling."""


@dataclass(frozen=True)
class Mutation:
    """What a run of faults works with.

    Args:
        suite: The deployed suite.
        run: Run directory.
        journal: Gets a step per fault.
        scenes: The lab as faults of each family see it.
        green: Context of the run before the first fault.
    """

    suite: suites.Suite
    run: RunDir
    journal: Journal
    scenes: Mapping[Family, Scene]
    green: Context


def run_faults(attached: Attached, run: RunDir, journal: Journal, *, only: tuple[str, ...] = ()) -> list[FaultRun]:
    """Inject faults one by one and hold the suite's verdicts against the catalogue.

    Args:
        attached: The lab; must be green.
        run: Gets `faults.jsonl`.
        journal: Gets a step per fault.
        only: Ids or names of faults; empty for all.

    Raises:
        UsageError: There is no such fault, it uses a name that no lab can have, or faults are injected already.
        CnilabError: The suite could not be deployed, or a fault could not be undone.
    """
    chosen = catalogue.choose(only)
    names.insist(chosen)
    require_none(LabDir(attached.state, attached.spec.name), "'cnilab test --faults'")
    with journal.step("faults", "mutation tests of the suite", faults=len(chosen)) as detail:
        suite = suites.deploy(attached, journal)
        wait_for_proxy(suite, journal)
        wanted = [CHECKS[name] for fault in chosen for name in _concerned(fault)]
        green = _observe(suite, batches([CHECKS["node.links"], *wanted]), run, journal, Pace())
        scenes = {family: scene(suite, green.of(family)) for family in green.inventory.families}
        mutation = Mutation(suite, run, journal, scenes, green)
        before = {result.id: result for result in judge_all(green, with_prerequisites(wanted), CHECKS)}
        outcomes = []
        for fault in chosen:
            with journal.step(f"faults.{fault.id}", f"{fault.id} {fault.name}") as facts:
                outcome = _mutate(mutation, fault, before)
                facts |= {"outcome": outcome.outcome, "seconds": outcome.seconds}
            run.add_faults([outcome])
            outcomes.append(outcome)
        detail |= {word: sum(one.outcome == word for one in outcomes) for word in ("killed", "survived", "imprecise")}
    return outcomes


def _observe(suite: suites.Suite, wanted: Iterable[Batch], run: RunDir, journal: Journal, pace: Pace) -> Context:
    seen = observe(suite, wanted, run.path / "faults", journal, pace)
    return Context(suite.attached.spec, suite.attached.variant, suite.inventory, tuple(seen))


def _look(mutation: Mutation, checks: Sequence[Check], pace: Pace) -> Context:
    """Only what the checks of a fault need: their batches, and kernel state only for those that read it."""
    checks = _open(checks, mutation.green.gates)
    kernel = any(check.id != "node.underlay" and "B0" in check.batches for check in checks)
    ids = {check.id for check in checks}
    pace = replace(pace, churn="conn.churn" in ids, kernel=kernel, moves=bool(MOVING & ids), policies=frozenset(ids))
    return _observe(mutation.suite, batches(checks), mutation.run, Journal(), pace)


def _open(checks: Sequence[Check], gates: Mapping[str, bool]) -> list[Check]:
    """Checks that apply to this lab."""
    return [check for check in checks if check.applies(gates)]


def _concerned(fault: Fault) -> list[str]:
    """Ids of the checks that a fault names."""
    return list(dict.fromkeys(split_target(text)[0] for text in (*fault.kills, *fault.spares)))


def _red(results: Mapping[str, Result], checks: Sequence[Check]) -> list[str]:
    """Ids of checks that did not pass, though they apply."""
    return [check.id for check in checks if results[check.id].status not in {"pass", "not-applicable"}]


def _mutate(mutation: Mutation, fault: Fault, before: Mapping[str, Result]) -> FaultRun:
    start = time.monotonic()
    absent = missing(fault, mutation.green)
    if absent:
        return _outcome(fault, start, "equivalent", detail=f"this cluster does not have: {', '.join(absent)}")
    checks = [CHECKS[name] for name in _concerned(fault)]
    if _red(before, checks):
        # A busy moment may have been the reason: nothing is said before another look.
        again = judge_all(_look(mutation, checks, Pace()), checks, CHECKS)
        if red := _red({result.id: result for result in again}, checks):
            return _outcome(fault, start, "error", detail=f"did not pass before the fault: {', '.join(red)}")
    # What is silent is silent to the end of the deadline, so the first look has a short one; and it asks only what the
    # checks read of a green lab. Should that have been too little or too fast, the next look has it all.
    hasty = Pace(
        HASTY, retries=1, moved=HASTY["B3"], only=reads(mutation.green, _open(checks, mutation.green.gates), CHECKS)
    )
    try:
        with injected(fault, mutation.scenes[fault.family]):
            for pace in (hasty, Pace()):
                context = _look(mutation, checks, pace)
                results = {result.id: result for result in judge_all(context, checks, CHECKS)}
                verdict = weigh(fault, results, mutation.green.gates)
                if verdict.outcome == "killed":
                    break
    except (CnilabError, ExpressionError) as error:
        return _outcome(fault, start, "error", detail=str(error).splitlines()[0])
    problem = _green_again(mutation, checks, hasty)
    if problem:
        return _outcome(fault, start, "error", detail=problem, weighed=verdict)
    return _outcome(fault, start, verdict.outcome, detail=verdict.detail, weighed=verdict)


@dataclass(frozen=True)
class Weighed:
    """Who noticed a fault.

    Args:
        killed: Targets that failed, as they should.
        survived: Targets that should have failed and did not.
        imprecise: Targets that should have been spared and failed.
        detail: The sentences that the checks said, or why one survived.
    """

    killed: tuple[str, ...]
    survived: tuple[str, ...]
    imprecise: tuple[str, ...]
    detail: str

    @property
    def outcome(self) -> str:
        """killed, survived or imprecise; surviving is worse."""
        return "survived" if self.survived else "imprecise" if self.imprecise else "killed"


def weigh(fault: Fault, results: Mapping[str, Result], gates: Mapping[str, bool]) -> Weighed:
    """Hold verdicts against what the catalogue says of a fault. Pure.

    Args:
        fault: With its kills and spares.
        results: Verdicts under the fault, by check.
        gates: Truth of gates: a check that does not apply here cannot be asked for.
    """
    killed, survived, imprecise, words = [], [], [], []
    for target in fault.kills:
        name, pattern = split_target(target)
        if not CHECKS[name].applies(gates):
            continue
        result = results[name]
        if result.reason == "deviation":
            continue  # it is known not to hold here, so nothing can be seen to break it
        if _failed(result, _pattern(fault, name, pattern)):
            killed.append(target)
            words.append(f"{name}: {result.statement}")
        else:
            survived.append(target)
            words.append(f"{target} did not fail: {result.status} {result.reason} {result.statement}")
    for target in (*fault.spares, *_other_family(fault)):
        name, pattern = split_target(target)
        if results[name].status == "fail" and _failed(results[name], pattern):
            imprecise.append(target)
            words.append(f"{target} should not have failed: {results[name].statement}")
    return Weighed(tuple(killed), tuple(survived), tuple(imprecise), "\n".join(words))


def _pattern(fault: Fault, check: str, pattern: str) -> str:
    """A pattern for legs, as legs of the fault's family are called."""
    return pattern if CHECKS[check].once else leg_of(pattern, fault.family)


def _other_family(fault: Fault) -> list[str]:
    """What a fault of IPv6 must spare beside what it says: the same checks in IPv4."""
    if fault.family == "ipv4":
        return []  # most of these break what both families use
    checks = dict.fromkeys(split_target(target)[0] for target in fault.kills)
    return [f"{check}[{ONLY_IPV4}]" for check in checks if not CHECKS[check].once]


def _failed(result: Result, pattern: str) -> bool:
    """A leg that matches failed. A broken prerequisite of the lab shows as an error, and counts as noticed."""
    if result.id == "node.underlay":
        return result.status in {"fail", "error"}
    return result.status == "fail" and any(leg.status == "fail" and _matches(leg.leg, pattern) for leg in result.legs)


def _matches(leg: str, pattern: str) -> bool:
    if pattern == ONLY_IPV4:
        return family_of_leg(leg) == "ipv4"
    return fnmatch.fnmatchcase(leg, pattern)


def _green_again(mutation: Mutation, checks: Sequence[Check], hasty: Pace) -> str:
    """Empty when all checks of a fault pass again, else the first that does not."""
    last = "no check was judged"
    paces = chain((hasty,), repeat(Pace(retries=1)))
    for _, pace in zip(timeouts.ticks(GREEN_AGAIN, 0.05), paces, strict=False):
        context = _look(mutation, checks, pace)
        judged = judge_all(context, with_prerequisites(_open(checks, mutation.green.gates)), CHECKS)
        bad = [one for one in judged if one.status not in {"pass", "not-applicable"}]
        if not bad:
            return ""
        last = f"did not pass after the fault was repaired: {bad[0].id}: {bad[0].statement}"
    return last


def _outcome(fault: Fault, start: float, outcome: str, *, detail: str = "", weighed: Weighed | None = None) -> FaultRun:
    return FaultRun.model_validate(
        {
            "fault": fault.id,
            "title": fault.title,
            "inject": fault.command,
            "outcome": outcome,
            "killed_by": weighed.killed if weighed else (),
            "survived": weighed.survived if weighed else (),
            "imprecise": weighed.imprecise if weighed else (),
            "detail": detail,
            "seconds": round(time.monotonic() - start, 3),
        }
    )
