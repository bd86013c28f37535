"""From a judge's verdict to a result: gates, prerequisites, controls and the roll-up of legs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Literal

from conformance import families
from conformance.advice import advice
from conformance.context import Context, UnreadError
from conformance.legs import FLAKY
from conformance.model import Check, Verdict
from harness.model.family import FAMILIES, TITLE, Family
from harness.model.records import Evidence, Leg, Result

EXAMPLES = 4
"""Failed legs whose values are kept as evidence."""

_EVIDENCE: Mapping[str, Literal["kernel", "cni", "diff"]] = {"B0": "kernel", "B7": "cni", "B9": "diff"}

SAMPLE = 12
"""Passed legs that a result keeps as examples; all others are kept whole."""


def judge(context: Context, check: Check, checks: Mapping[str, Check]) -> Result:
    """The result of one requirement, and of its prerequisites on the way; remembered in the context.

    Args:
        context: The run.
        check: The requirement.
        checks: All requirements by id, to find prerequisites.
    """
    known: dict[str, Result] = context.memo.setdefault("results", {})
    if check.id not in known:
        result = _judge(context, check, checks)
        known[check.id] = result.model_copy(update={"next": advice(context, check, result.legs)} if result.next else {})
    return known[check.id]


def judge_all(context: Context, chosen: Iterable[Check], checks: Mapping[str, Check]) -> list[Result]:
    """Results in the order of the requirements."""
    return [judge(context, check, checks) for check in chosen]


def _judge(context: Context, check: Check, checks: Mapping[str, Check]) -> Result:
    gates: dict[str, bool] = {gate: context.gates.get(gate, False) for gate in check.gates}
    closed = [gate for gate, open_ in gates.items() if not open_]
    unseen = [gate for gate in closed if gate in context.inventory.reasons]
    if closed and unseen == closed:
        why = context.inventory.reasons[closed[0]]
        return _result(check, gates, status="skip", reason=closed[0], statement=f"not measured here: {why}")
    if closed:
        closed = [gate for gate in closed if gate not in unseen]
        return _result(
            check, gates, status="not-applicable", reason=closed[0], statement=_gate_sentence(context, closed)
        )
    blocked = _blocked(context, check, checks)
    there = context.entire.inventory.families
    judged = tuple(family for family in there if family not in blocked)
    if not judged or (check.once and blocked):
        root = next(iter(blocked.values()))
        statement = f"not judged, because {root} did not pass: solve that first"
        return _result(check, gates, status="skip", reason="blocked", blocked_by=root, statement=statement)
    start = time.perf_counter()
    try:
        verdict = _verdict(context, check, judged)
    except UnreadError as error:
        return _result(check, gates, status="error", reason="unread", statement=str(error), next=check.next)
    except Exception as error:  # noqa: BLE001 - a judge that trips over odd data has no verdict, and must not hide others
        return _result(
            check,
            gates,
            status="error",
            reason="judge",
            statement=f"the judge failed: {type(error).__name__}: {error}",
            next=check.next,
        )
    wall_ms = (time.perf_counter() - start) * 1000
    because = context.deviations.get(check.id)
    result = roll_up(check, gates, verdict, wall_ms) if because is None else _deviating(check, gates, verdict, because)
    return _partly(result, blocked) if blocked else result


def _blocked(context: Context, check: Check, checks: Mapping[str, Check]) -> dict[Family, str]:
    """Families in which a prerequisite does not hold -> the first of them that does not.

    A requirement that is judged for each family is blocked in the families where its prerequisite does not hold, and
    judged in the others: IPv6 that is broken hides nothing of IPv4.
    """
    found: dict[Family, str] = {}
    for name in check.after:
        before = judge(context, checks[name], checks)
        if before.status in {"pass", "not-applicable"} or (before.status == "skip" and not before.blocked_by):
            continue
        for family in context.entire.inventory.families:
            # What has no families, or no verdict at all, stands for all of them.
            status = before.families.get(family, before.status)
            if status not in {"pass", "record"}:
                found.setdefault(family, before.blocked_by if status == "skip" else name)
    return found


def _partly(result: Result, blocked: Mapping[Family, str]) -> Result:
    """A result of some families, where others were not judged: what failed has failed, and nothing has passed."""
    because = "; ".join(
        f"{TITLE[family]} was not judged, because {root} did not pass: solve that first"
        for family, root in blocked.items()
    )
    said: dict[Family, str] = dict.fromkeys(blocked, "skip")
    judged = next(family for family in FAMILIES if family not in blocked)
    facts: dict[str, object] = {
        "statement": f"{because}; {TITLE[judged]}: {result.statement}",
        "families": {judged: result.families.get(judged, result.status), **said},
    }
    if result.status == "pass":
        facts |= {"status": "skip", "reason": "blocked", "blocked_by": next(iter(blocked.values()))}
    return result.model_copy(update=facts)


def _verdict(context: Context, check: Check, judged: Sequence[Family]) -> Verdict:
    """What the judge says of the primary family, or of each of those that can be judged as one."""
    there = context.entire.inventory.families
    if check.once or there == ("ipv4",):
        return check.judge(context.entire.of(there[0]))
    found = {family: _of_family(context, check, family) for family in judged}
    totals = [verdict.total if verdict.total is not None else len(verdict.legs) for verdict in found.values()]
    return Verdict(
        tuple(leg for verdict in found.values() for leg in verdict.legs),
        tuple(
            one.model_copy(update={"detail": f"{TITLE[family]}: {one.detail}"}) if len(there) > 1 else one
            for family, verdict in found.items()
            for one in verdict.controls
        ),
        tuple(one for verdict in found.values() for one in verdict.evidence),
        unsure=tuple(family for family, verdict in found.items() if not all(one.ok for one in verdict.controls)),
        total=sum(totals),
        summary=families.titled({family: verdict.summary for family, verdict in found.items()}),
    )


def _of_family(context: Context, check: Check, family: Family) -> Verdict:
    """A verdict on one family, with the names that its legs have there; what is declared not to hold is recorded."""
    verdict = check.judge(context.entire.of(family))
    legs = families.renamed(verdict.legs, family)
    because = context.deviations.get(families.leg_of(check.id, family)) if family == "ipv6" else None
    summary = verdict.summary
    if because is not None:
        summary = _declared(because, legs)
        waived = {"status": "record", "reason": "deviation"}
        legs = tuple(
            leg.model_copy(update={**waived, "statement": f"declared deviation: {because}; {leg.statement}"})
            if leg.status == "fail"
            else leg
            for leg in legs
        )
    evidence = (one.model_copy(update={"detail": families.detailed(one.detail, family)}) for one in verdict.evidence)
    return replace(verdict, legs=legs, evidence=tuple(evidence), summary=summary)


def _deviating(check: Check, gates: Mapping[str, bool], verdict: Verdict, because: str) -> Result:
    """A requirement that is declared not to be met: every leg is kept, and none fails the run."""
    result = roll_up(replace(check, level="R"), gates, verdict)
    if result.status != "pass":
        return result
    return result.model_copy(update={"reason": "deviation", "statement": _declared(because, verdict.legs)})


def _declared(because: str, legs: Sequence[Leg]) -> str:
    """What a variant declares, and what was seen of it."""
    failed = [leg for leg in legs if leg.status == "fail"]
    seen = _headline(failed, len(legs)) if failed else "in this run every leg is as required"
    return f"declared deviation: {because}; {seen}"


def _gate_sentence(context: Context, closed: list[str]) -> str:
    if closed[0] == "dis":
        return "not applicable: checks that disturb the cluster were not asked for (--disruptive)"
    names = ", ".join(closed)
    decided = "the cluster" if closed[0] in context.inventory.environment or closed[0] == "multi" else "the variant"
    return f"not applicable: {decided} does not have {names} (variant {context.variant.name})"


def roll_up(check: Check, gates: Mapping[str, bool], verdict: Verdict, wall_ms: float = 0.0) -> Result:
    """Legs and controls to one status: error over fail over pass.

    Args:
        check: The requirement.
        gates: Its gates with their truth.
        verdict: What the judge said.
        wall_ms: What judging cost, milliseconds.
    """
    broken = [control for control in verdict.controls if not control.ok]
    wrong = [leg for leg in verdict.legs if leg.status == "error"]
    failed = [leg for leg in verdict.legs if leg.status == "fail"]
    retried = [leg for leg in verdict.legs if leg.status == "pass" and leg.reason == FLAKY]
    reason = ""
    if not verdict.legs:
        status, reason = "error", "empty-census"
        statement = "nothing was examined: the census of this check is empty"
    elif wrong:  # before the controls: where nothing could be read, a census only says that nothing was
        status, reason = "error", wrong[0].reason or "lab"
        statement = _headline(wrong, len(verdict.legs))
    elif broken:
        status, reason = "error", "control"
        statement = f"no verdict: control {broken[0].kind} is broken: {broken[0].detail}"
    elif failed and check.level != "R":
        status, reason = "fail", failed[0].reason
        statement = _headline(failed, len(verdict.legs))
    else:
        status = "pass"
        statement = verdict.summary or f"{len(verdict.legs)} of {len(verdict.legs)} as expected"
        statement += f"; {len(retried)} only after a retry" if retried else ""
    kept = [leg for leg in verdict.legs if leg.status != "pass"]
    for family in FAMILIES:
        good = (leg for leg in verdict.legs if leg.status == "pass" and families.family_of_leg(leg.leg) == family)
        kept += islice(good, SAMPLE)
    return _result(
        check,
        gates,
        status=status,
        reason=reason,
        statement=statement,
        legs=tuple(kept),
        families=_by_family(verdict),
        tested=len(verdict.legs) - len(wrong),
        total=verdict.total or len(verdict.legs),
        controls=verdict.controls,
        evidence=verdict.evidence or _evidence(check, failed),
        wall_ms=round(wall_ms, 3),
        next=check.next if status in {"fail", "error"} else (),
        flaky=bool(retried),
    )


def _by_family(verdict: Verdict) -> dict[Family, str]:
    """The worst that legs and controls of each family say; empty where none is over IPv6."""
    found: dict[Family, list[str]] = {family: ["error"] for family in verdict.unsure}
    for leg in verdict.legs:
        found.setdefault(families.family_of_leg(leg.leg), []).append(leg.status)
    worst = ("error", "fail", "pass", "record")
    said = {
        family: next((one for one in worst if one in found[family]), "pass") for family in FAMILIES if family in found
    }
    return said if "ipv6" in said else {}


def _evidence(check: Check, failed: Sequence[Leg]) -> tuple[Evidence, ...]:
    """What proves a failure when the judge gave nothing of its own: the values of its first legs."""
    kind = _EVIDENCE.get(check.batch, "socket")
    return tuple(
        Evidence(kind=kind, detail={"leg": leg.leg, "expected": leg.expected, "observed": leg.observed})
        for leg in failed[:EXAMPLES]
    )


def _headline(legs: list[Leg], total: int) -> str:
    first = legs[0].statement or f"{legs[0].leg}: {legs[0].reason}"
    return first if len(legs) == 1 else f"{first} (and {len(legs) - 1} more of {total})"


def _result(check: Check, gates: Mapping[str, bool], **facts: object) -> Result:
    return Result.model_validate(
        {
            "id": check.id,
            "title": check.title,
            "area": check.area,
            "level": check.level,
            "source": check.source,
            "gates": dict(gates),
            **facts,
        }
    )


def exit_code(results: Iterable[Result], *, strict: bool = False) -> int:
    """What a shell is told: 1 when the network failed, 11 when there is no verdict, 0 otherwise.

    Args:
        results: All results.
        strict: A failed S counts like a failed M.
    """
    listed = list(results)
    fatal = {"M", "S"} if strict else {"M"}
    if any(result.status == "fail" and result.level in fatal for result in listed):
        return 1
    return 11 if any(result.status == "error" for result in listed) else 0
