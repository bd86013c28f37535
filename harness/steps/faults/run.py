"""`cnilab test --faults`, `cnilab mutate`: is the suite itself any good? Break the lab, and see who notices."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final

from conformance.batches import DISTURBING, Batch
from conformance.causes.explain import explain
from conformance.context import Context
from conformance.judging import judge_all
from conformance.model import Check
from conformance.reads import Reads, reads
from conformance.registry import CHECKS, batches, with_prerequisites
from harness import timeouts
from harness.errors import CnilabError
from harness.faults import catalogue
from harness.faults.inject import Scene, injected
from harness.faults.model import Fault, split_target
from harness.model.cause import Answer
from harness.model.expression import ExpressionError
from harness.model.family import Family
from harness.model.injection import require_none
from harness.model.journal import Journal, now
from harness.model.labstate import LabDir
from harness.model.records import Census, FaultOutcome, FaultRun, Result
from harness.model.run import RunDir
from harness.steps.faults import names
from harness.steps.faults.blame import patterns, rank
from harness.steps.faults.bounds import PLUGINS, beyond, can_fail
from harness.steps.faults.cases import insist_empty, keep
from harness.steps.faults.scene import absent, scene
from harness.steps.faults.weigh import Scope, Seen, Weighed, reds, seen, weigh
from harness.steps.lifecycle.attach import Attached
from harness.steps.suite import deploy as suites
from harness.steps.suite.disruptive.measure import Disturbance
from harness.steps.suite.observe import Pace, observe, wait_for_proxy

HASTY: Mapping[Batch, float] = {"B0": 0.8, "B1": 1.2, "B2": 1.2, "B3": 1.2, "B4": 1.2, "B5": 1.0, "B6": 2.5, "B7": 10.0}
"""Seconds for the probes of a batch under a fault: round trips in a lab take less than a millisecond.

On a busy machine that can be too short. So a fault that was not killed cleanly gets a second look with the usual
deadlines, before anything is said about the suite.
"""

MOVING = frozenset({"svc.endpoint-change", "svc.udp-stale"})
"""Checks for which a Service is moved, which takes seconds."""

NAMED: Final = frozenset({"model.kubelet-probe"})
"""Checks that are judged only under faults that name them: a look makes pods, and a plugin repairs on the way what is
broken on its node, or leaves there what its fault makes it leave.
"""

BRIEF: Final[Mapping[str, Any]] = {
    "rounds": 5, "trials": 1, "idle": 5.0, "patience": 2.0, "unpromised": 1.0, "back": 20.0,
}  # fmt: skip
"""How a lab is disturbed for a first look at a fault, and to see that it is green again."""

GREEN_AGAIN = 30.0
"""Seconds until the checks of a fault pass again after it was undone, before scaling."""


@dataclass(frozen=True)
class Mutation:
    """What a run of faults works with.

    Args:
        suite: The deployed suite.
        run: Run directory.
        scenes: The lab as faults of each family see it.
        green: Context of the run before the first fault.
        before: Verdicts on it.
        rest: Checks that every fault must spare unless it says otherwise; empty: only those that it names count.
        disturbance: How the lab may be disturbed.
        explain: Causes are told.
        cases: Gets what was seen under each fault, with what was broken.
    """

    suite: suites.Suite
    run: RunDir
    scenes: Mapping[Family, Scene]
    green: Context
    before: Mapping[str, Result]
    rest: tuple[Check, ...] = ()
    disturbance: Disturbance = field(default_factory=Disturbance)
    explain: bool = False
    cases: Path | None = None

    @property
    def scope(self) -> Scope:
        """What of the lab decides which checks can be asked for."""
        return Scope(self.green.gates, self.green.deviations)


@dataclass(frozen=True)
class Start:
    """When a fault's turn came: by the calendar, and by the clock that only goes on."""

    at: str
    clock: float


@dataclass(frozen=True)
class Wish:
    """Which faults are to be run, and against what.

    Args:
        only: Ids or names of faults; empty for all.
        known: Ids of faults that have a record already.
        everyone: Judge all checks under each fault, not only those that it names.
        disturbance: How the lab may be disturbed; None: it may not, and faults of what that shows do not fit.
        explain: Have the cause of each told, and see whether it is what was broken.
        cases: Directory that gets a case for each fault whose cause was told; there may be nothing in it.
    """

    only: tuple[str, ...] = ()
    known: Collection[str] = ()
    everyone: bool = False
    disturbance: Disturbance | None = None
    explain: bool = False
    cases: Path | None = None


def run_faults(attached: Attached, run: RunDir, journal: Journal, wish: Wish | None = None) -> list[FaultRun]:
    """Inject faults one by one and hold the suite's verdicts against the catalogue.

    Args:
        attached: The lab; must be green.
        run: Gets a line of `faults.jsonl` after each fault, and `census.json` if all checks are judged.
        journal: Gets a step per fault.
        wish: Which faults; None for all, against the checks that they name.

    Raises:
        UsageError: There is no such fault, it uses a name that no lab can have, faults are injected already, or the
            directory of cases is not empty.
        CnilabError: The suite could not be deployed, or a fault could not be undone.
    """
    asked = wish or Wish()
    # Who takes the network away gives pods other addresses: names of faults would stand for those of before.
    chosen = sorted(
        (fault for fault in catalogue.choose(asked.only) if fault.id not in asked.known),
        key=lambda fault: _removing(fault, asked.disturbance),
    )
    names.insist(chosen)
    if asked.cases is not None:
        insist_empty(asked.cases)
    require_none(LabDir(attached.state, attached.spec.name), "'cnilab test --faults'")
    with journal.step("faults", "mutation tests of the suite", faults=len(chosen)) as detail:
        mutation = _prepared(attached, run, journal, chosen, asked)
        outcomes = []
        for number, fault in enumerate(chosen, start=1):
            title = f"{fault.id} {fault.name} ({number} of {len(chosen)})"
            with journal.step(f"faults.{fault.id}", title) as facts:
                outcome = _mutate(mutation, fault)
                facts |= {"outcome": outcome.outcome, "seconds": outcome.seconds, **_missed(outcome)}
            run.add_faults([outcome])
            outcomes.append(outcome)
        detail |= {word: sum(one.outcome == word for one in outcomes) for word in ("killed", "survived", "imprecise")}
    return outcomes


def _prepared(attached: Attached, run: RunDir, journal: Journal, chosen: Sequence[Fault], asked: Wish) -> Mutation:
    """The suite on the lab, and a look at it before the first fault."""
    suite = suites.deploy(attached, journal, disruptive=asked.disturbance is not None)
    wait_for_proxy(suite, journal)
    named = [CHECKS[name] for fault in chosen for name in _concerned(fault)]
    wanted = list(dict.fromkeys([*named, *(CHECKS.values() if asked.everyone else ())]))
    # What disturbs is looked at when its fault has its turn, and not before all others.
    quiet = [batch for batch in batches([CHECKS["node.links"], *wanted]) if batch not in DISTURBING]
    green = _observe(suite, quiet, run, journal, Pace())
    scenes = {family: scene(suite, green.of(family)) for family in green.inventory.families}
    before = {result.id: result for result in judge_all(green, with_prerequisites(wanted), CHECKS)}
    mutation = Mutation(
        suite,
        run,
        scenes,
        green,
        before,
        disturbance=asked.disturbance or Disturbance(),
        explain=asked.explain,
        cases=asked.cases,
    )
    if not asked.everyone:
        return mutation
    bad = [CHECKS[name] for name in _red(before, [CHECKS[name] for name in before])]
    if bad:
        # A busy moment may have been the reason: nothing is said before another look.
        before |= {result.id: result for result in judge_all(_look(mutation, bad, Pace()), bad, CHECKS)}
    able = [
        check
        for check in CHECKS.values()
        if can_fail(check, green) and not {*check.batches} & {*DISTURBING} and check.id not in NAMED
    ]
    rest = tuple(check for check in able if before[check.id].status == "pass")
    run.write_census(
        Census(
            checks=tuple(check.id for check in rest),
            unsteady=tuple(check.id for check in able if check not in rest),
            recorded=tuple(check.id for check in CHECKS.values() if check.applies(green.gates) and check not in able),
            gates=green.gates,
            deviations=green.deviations,
        )
    )
    return replace(mutation, rest=rest)


def _removing(fault: Fault, disturbance: Disturbance | None) -> bool:
    """A look at the fault takes the network away."""
    return disturbance is not None and any("B9" in CHECKS[name].batches for name in _concerned(fault))


def _observe(suite: suites.Suite, wanted: Iterable[Batch], run: RunDir, journal: Journal, pace: Pace) -> Context:
    seen = observe(suite, wanted, run.path / "faults", journal, pace)
    return Context(suite.attached.spec, suite.attached.variant, suite.inventory, tuple(seen))


def _look(mutation: Mutation, checks: Sequence[Check], pace: Pace, *, brief: bool = True) -> Context:
    """Only what checks need: their batches, and kernel state only for those that read it."""
    checks = _open(checks, mutation.green.gates)
    kernel = any(check.id != "node.underlay" and "B0" in check.batches for check in checks)
    ids = {check.id for check in checks}
    pace = replace(pace, churn="conn.churn" in ids, kernel=kernel, moves=bool(MOVING & ids), policies=frozenset(ids))
    how = replace(mutation.disturbance, checks=frozenset(ids))
    pace = replace(pace, disturbance=replace(how, **BRIEF) if brief else how)
    suite = mutation.suite
    if any("B9" in check.batches for check in checks):
        # An earlier such look has taken the network away: pods have other sandboxes and addresses since.
        suite = suites.deploy(suite.attached, Journal(), disruptive=suite.gates.get("dis", False))
    return _observe(suite, batches(checks), mutation.run, Journal(), pace)


def _open(checks: Sequence[Check], gates: Mapping[str, bool]) -> list[Check]:
    """Checks that apply to this lab."""
    return [check for check in checks if check.applies(gates)]


def _concerned(fault: Fault) -> list[str]:
    """Ids of the checks that a fault names."""
    return list(dict.fromkeys(split_target(text)[0] for text in (*fault.kills, *fault.spares)))


def _red(results: Mapping[str, Result], checks: Sequence[Check]) -> list[str]:
    """Ids of checks that did not pass, though they apply."""
    return [check.id for check in checks if results[check.id].status not in {"pass", "not-applicable"}]


def _mutate(mutation: Mutation, fault: Fault) -> FaultRun:
    start = Start(now(), time.monotonic())
    nothing = absent(fault, mutation.green) or mutation.scope.nobody(fault)
    if nothing:
        return _outcome(fault, start, nothing[0], detail=nothing[1])
    named = [CHECKS[name] for name in _concerned(fault)]
    if _red(mutation.before, named):
        # A busy moment may have been the reason: nothing is said before another look.
        again = judge_all(_look(mutation, named, Pace()), named, CHECKS)
        if red := _red({result.id: result for result in again}, named):
            return _outcome(fault, start, "error", detail=f"did not pass before the fault: {', '.join(red)}")
    others = [check for check in mutation.rest if check not in named]
    far = beyond(fault, others)
    checks = [*named, *(check for check in others if check not in far)]
    try:
        with injected(fault, mutation.scenes[fault.family]):
            under = _under(mutation, fault, checks)
            told = _told(mutation, fault, under) if mutation.explain else {}
    except (CnilabError, ExpressionError) as error:
        return _outcome(fault, start, "error", detail=str(error).splitlines()[0])
    ever = [check for check in checks if check.id in under.ever or check in named]
    problem = _green_again(mutation, ever)
    facts = (_facts(under, checks, far) if mutation.rest else {}) | told
    outcome: FaultOutcome = "error" if problem else under.weighed.outcome
    return _outcome(fault, start, outcome, detail=problem or under.weighed.detail, weighed=under.weighed, facts=facts)


@dataclass(frozen=True)
class Under:
    """What was seen under a fault.

    Args:
        weighed: Held against the catalogue.
        looks: The last verdict on every check.
        ever: Checks that did not pass in one of the looks.
    """

    weighed: Weighed
    looks: Mapping[str, Seen]
    ever: frozenset[str]


def _under(mutation: Mutation, fault: Fault, checks: Sequence[Check]) -> Under:
    """Look at packets first, and at plugins last: an ADD makes its node forward again, and so repairs some faults."""
    looks: dict[str, Seen] = {}
    ever: set[str] = set()
    plugins = [check for check in checks if PLUGINS in check.batches]
    for part in ([check for check in checks if check not in plugins], plugins):
        if part:
            _look_twice(mutation, fault, part, looks, ever)
    return Under(weigh(fault, looks, mutation.scope), looks, frozenset(ever))


def _look_twice(
    mutation: Mutation, fault: Fault, checks: Sequence[Check], looks: dict[str, Seen], ever: set[str]
) -> None:
    """Look once; and at what did not say what the catalogue does, once more with the usual patience.

    What is silent is silent to the end of the deadline, so the first look has a short one; and it asks only what the
    checks read of a green lab. Should that have been too little or too fast, the next look has it all.

    Args:
        mutation: What is worked with.
        fault: Which is injected.
        checks: What is looked at.
        looks: Gets the last verdict on each.
        ever: Gets the checks that failed in one of the looks.
    """
    looks |= seen(judge_all(_look(mutation, checks, _hasty(mutation, checks)), checks, CHECKS))
    ever |= _noticed(looks)
    doubtful = weigh(fault, looks, mutation.scope).doubtful
    again = [check for check in checks if check.id in doubtful or looks[check.id].blocked_by in doubtful]
    if again:
        looks |= seen(judge_all(_look(mutation, again, Pace(), brief=False), again, CHECKS))
        ever |= _noticed(looks)


APART: Final = frozenset({"B6", *DISTURBING})
"""Batches that no cause is looked for in: their packets are sent under policies, and disturb the lab."""


def _told(mutation: Mutation, fault: Fault, under: Under) -> dict[str, object]:
    """The causes that the suite tells under a fault, and the place of what was broken among them."""
    red = [CHECKS[name] for name, one in under.looks.items() if one.red and not {*CHECKS[name].batches} & APART]
    if not red:
        return {}
    seen_ = _look(mutation, [*red, CHECKS["node.links"]], Pace(retries=1))
    results = judge_all(seen_, red, CHECKS)
    causes = explain(seen_, results)
    wanted = patterns(fault, mutation.scenes[fault.family].values)
    if mutation.cases is not None:
        answer = Answer(
            fault=fault.id,
            title=fault.title,
            inject=fault.command,
            family=fault.family,
            held=fault.held,
            keys=wanted,
        )
        keep(mutation.cases, mutation.run.info(), seen_, results, causes, answer)
    return {
        "named": rank(causes, wanted),
        "causes": tuple(one.key for one in causes),
        "cause": causes[0].sentence if causes else "",
    }


def _noticed(looks: Mapping[str, Seen]) -> frozenset[str]:
    return frozenset(name for name, one in looks.items() if one.red)


def _hasty(mutation: Mutation, checks: Sequence[Check]) -> Pace:
    """The first look: in haste at what a fault names; at all checks at once there is more to do, and it has its time.

    Of all checks many are silent under a fault that cuts a path, so that a look in haste is seldom the last one.
    """
    if mutation.rest:
        return Pace(retries=1, only=_read(mutation, checks))
    return Pace(HASTY, retries=1, moved=HASTY["B3"], only=_read(mutation, checks))


def _read(mutation: Mutation, checks: Sequence[Check]) -> Reads:
    """What checks read of a green lab; where all are judged, what all read, which is found out once."""
    return _read_by(mutation, list(dict.fromkeys([*mutation.rest, *checks])))


def _read_by(mutation: Mutation, checks: Sequence[Check]) -> Reads:
    wanted = _open(checks, mutation.green.gates)
    known: dict[frozenset[str], Reads] = mutation.green.memo.setdefault("reads", {})
    key = frozenset(check.id for check in wanted)
    if key not in known:
        known[key] = reads(mutation.green, wanted, CHECKS)
    return known[key]


def _green_again(mutation: Mutation, checks: Sequence[Check]) -> str:
    """Empty when all checks that noticed a fault pass again, else the first that does not."""
    last = "no check was judged"
    # Against all checks, patience is cheaper: a look that is too short for a busy machine is one more look.
    first = Pace(retries=1, only=_read_by(mutation, checks)) if mutation.rest else _hasty(mutation, checks)
    paces = chain((first,), repeat(Pace(retries=1)))
    patience = GREEN_AGAIN * (3 if mutation.rest else 1)  # whoever looks at more needs longer for each look
    for _, pace in zip(timeouts.ticks(patience, 0.05), paces, strict=False):
        context = _look(mutation, checks, pace)
        judged = judge_all(context, with_prerequisites(_open(checks, mutation.green.gates)), CHECKS)
        bad = [one for one in judged if one.status not in {"pass", "not-applicable"}]
        if not bad:
            return ""
        last = f"did not pass after the fault was repaired: {bad[0].id}: {bad[0].statement}"
    return last


def _missed(outcome: FaultRun) -> dict[str, str]:
    """What a step tells of a fault that went wrong."""
    who = {"survived": outcome.survived, "imprecise": outcome.imprecise, "error": (outcome.detail,)}
    return {"missed": f"{outcome.outcome}: {', '.join(who[outcome.outcome])}"} if outcome.outcome in who else {}


def _facts(under: Under, checks: Sequence[Check], far: Sequence[Check]) -> dict[str, object]:
    """What a record of a run against all checks has beside its outcome."""
    return {
        "reds": reds(under.looks),
        "unjudged": tuple(name for name, one in under.looks.items() if one.status == "error"),
        "left_out": tuple(check.id for check in far),
        "judged": len(checks),
    }


def _outcome(
    fault: Fault,
    start: Start,
    outcome: FaultOutcome,
    *,
    detail: str = "",
    weighed: Weighed | None = None,
    facts: Mapping[str, object] | None = None,
) -> FaultRun:
    return FaultRun.model_validate(
        {
            "fault": fault.id,
            "title": fault.title,
            "inject": fault.command,
            "outcome": outcome,
            "killed_by": weighed.killed if weighed else (),
            "survived": weighed.survived if weighed else (),
            "imprecise": weighed.imprecise if weighed else (),
            "beside": weighed.beside if weighed else (),
            "detail": detail,
            "began": start.at,
            "seconds": round(time.monotonic() - start.clock, 3),
            **(facts or {}),
        }
    )
