"""Who noticed a fault: verdicts under it, held against what the catalogue says of it. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from conformance.families import family_of_leg, leg_of
from conformance.registry import CHECKS
from harness.faults.model import Fault, split_target
from harness.model.records import FaultOutcome, FaultRun, Red, Result

ONLY_IPV4: Final = "any leg over IPv4"
"""Stands for the legs that no pattern can name: those whose names do not say IPv6."""

UNDERLAY: Final = "node.underlay"
"""The prerequisite whose error is a broken lab, and counts as noticed."""


@dataclass(frozen=True)
class Seen:
    """What is needed of a verdict.

    Args:
        status: As of a result.
        reason: Likewise.
        statement: Likewise.
        legs: Names of the legs that failed.
        blocked_by: The check for which it was not judged.
    """

    status: str
    reason: str = ""
    statement: str = ""
    legs: tuple[str, ...] = ()
    blocked_by: str = ""

    @property
    def red(self) -> bool:
        """It failed, or is the prerequisite that could not be judged."""
        return self.status in {"fail", "underlay"}


def seen(results: Iterable[Result]) -> dict[str, Seen]:
    """What verdicts say, by check."""
    return {one.id: _seen(one) for one in results}


def _seen(result: Result) -> Seen:
    broken = result.id == UNDERLAY and result.status in {"fail", "error"}
    legs = tuple(leg.leg for leg in result.legs if leg.status == "fail")
    return Seen("underlay" if broken else result.status, result.reason, result.statement, legs, result.blocked_by)


def kept(run: FaultRun) -> dict[str, Seen]:
    """What a record says of the checks that failed."""
    return {
        one.check: Seen("underlay" if one.check == UNDERLAY else "fail", one.reason, one.statement, one.legs)
        for one in run.reds
    }


def reds(looks: Mapping[str, Seen]) -> tuple[Red, ...]:
    """What a record keeps: every check that failed, with its legs, so that it can be weighed again."""
    return tuple(
        Red(check=name, reason=one.reason, statement=one.statement, legs=one.legs)
        for name, one in looks.items()
        if one.red
    )


@dataclass(frozen=True)
class Scope:
    """What of a lab decides which checks can be asked for.

    Args:
        gates: Truth of gates.
        deviations: Check, or check over IPv6 -> why it is known not to hold here, so that nothing can break it.
    """

    gates: Mapping[str, bool]
    deviations: Mapping[str, str] = field(default_factory=dict)

    def waived(self, fault: Fault, check: str) -> str:
        """Why a check is known not to hold in the fault's family; empty when it does hold."""
        return self.deviations.get(check) or self.deviations.get(leg_of(check, fault.family), "")

    def asked(self, fault: Fault) -> list[str]:
        """Targets of a fault that must fail here."""
        names = [(target, split_target(target)[0]) for target in fault.kills]
        return [text for text, name in names if CHECKS[name].applies(self.gates) and not self.waived(fault, name)]

    def nobody(self, fault: Fault) -> tuple[FaultOutcome, str] | None:
        """Where no check can be asked to notice a fault: the outcome, and the reason. None where one can."""
        if self.asked(fault):
            return None
        names = [split_target(target)[0] for target in fault.kills]
        why = [self.waived(fault, name) for name in names if CHECKS[name].applies(self.gates)]
        if why:
            return "equivalent", f"declared for this network: {'; '.join(dict.fromkeys(why))}"
        closed = [gate for name in names for gate in CHECKS[name].gates if not self.gates.get(gate, False)]
        who = ", ".join(dict.fromkeys(names))
        return "not-applicable", f"{who} would notice, and needs {', '.join(dict.fromkeys(closed))}"


@dataclass(frozen=True)
class Weighed:
    """Who noticed a fault.

    Args:
        killed: Targets that failed, as they should.
        survived: Targets that should have failed and did not.
        imprecise: Targets that should have been spared and failed.
        beside: Checks that failed, and of which the catalogue says why they may.
        detail: The sentences that the checks said, or why one survived.
    """

    killed: tuple[str, ...]
    survived: tuple[str, ...]
    imprecise: tuple[str, ...]
    beside: tuple[str, ...]
    detail: str

    @property
    def outcome(self) -> FaultOutcome:
        """killed, survived or imprecise; surviving is worse."""
        return "survived" if self.survived else "imprecise" if self.imprecise else "killed"

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Checks that did not say what the catalogue does."""
        return tuple(dict.fromkeys(split_target(target)[0] for target in (*self.survived, *self.imprecise)))


def weigh(fault: Fault, looks: Mapping[str, Seen], scope: Scope) -> Weighed:
    """Hold verdicts against what the catalogue says of a fault.

    A check that the fault does not name is spared, unless its `also` says why it may fail.

    Args:
        fault: With its kills, spares and also.
        looks: Verdicts under the fault, by check; at least of the checks that must fail and of those it spares.
        scope: Says which checks can be asked for.
    """
    killed, survived, words = [], [], []
    for target in scope.asked(fault):
        name, pattern = split_target(target)
        look = looks.get(name, Seen("pass"))
        if _failed(look, _pattern(fault, name, pattern)):
            killed.append(target)
            words.append(f"{name}: {look.statement}")
        else:
            survived.append(target)
            words.append(f"{target} did not fail: {look.status} {look.reason} {look.statement}".rstrip())
    imprecise = list(dict.fromkeys(_too_much(fault, looks)))
    words += [f"{target} should not have failed: {looks[split_target(target)[0]].statement}" for target in imprecise]
    excused = _also(fault, looks)
    beside = [name for name, look in looks.items() if look.red and name in excused]
    return Weighed(tuple(killed), tuple(survived), tuple(imprecise), tuple(beside), "\n".join(words))


def _also(fault: Fault, names: Iterable[str]) -> dict[str, list[str]]:
    """Checks that may fail, with the patterns of their legs."""
    targets = [split_target(target) for group in fault.also for target in group.checks]
    found = {
        name: [_pattern(fault, name, pattern) for glob, pattern in targets if fnmatch.fnmatchcase(name, glob)]
        for name in names
    }
    return {name: patterns for name, patterns in found.items() if patterns}


def _too_much(fault: Fault, looks: Mapping[str, Seen]) -> Iterator[str]:
    """Targets that failed, and should not have."""
    for target in fault.spares:
        name, pattern = split_target(target)
        look = looks.get(name)
        if look is not None and look.status == "fail" and _failed(look, pattern):
            yield target
    # Who spares some legs of a check has thought of its others.
    partly = {name for name, pattern in map(split_target, fault.spares) if pattern != "*"}
    named = partly | {split_target(target)[0] for target in fault.kills}
    may = _also(fault, looks)
    for name, look in looks.items():
        if not look.red:
            continue
        if name not in named and name not in may:
            yield name
        elif fault.family == "ipv6" and not CHECKS[name].once and _failed(look, ONLY_IPV4):
            yield f"{name}[{ONLY_IPV4}]"  # a fault of IPv6 must spare IPv4; most of IPv4 break what both families use
        elif name in may and name not in named and not _covered(look, may[name]):
            yield name


def _covered(look: Seen, patterns: Iterable[str]) -> bool:
    """Every leg that failed is one that may."""
    chosen = list(patterns)
    return all(any(_matches(leg, pattern) for pattern in chosen) for leg in look.legs)


def _pattern(fault: Fault, check: str, pattern: str) -> str:
    """A pattern for legs, as legs of the fault's family are called."""
    return pattern if CHECKS[check].once else leg_of(pattern, fault.family)


def _failed(look: Seen, pattern: str) -> bool:
    """A leg that matches failed. A broken prerequisite of the lab shows as an error, and counts as noticed."""
    if look.status == "underlay" and pattern != ONLY_IPV4:
        return True
    return look.red and any(_matches(leg, pattern) for leg in look.legs)


def _matches(leg: str, pattern: str) -> bool:
    if pattern == ONLY_IPV4:
        return family_of_leg(leg) == "ipv4"
    return fnmatch.fnmatchcase(leg, pattern)


def again(fault: Fault, run: FaultRun, scope: Scope) -> FaultRun:
    """A record weighed by the catalogue as it is now: what failed then is kept, what should have may be another.

    Args:
        fault: As in the catalogue.
        run: The record, of a run against all checks.
        scope: Of the lab that it is of.
    """
    if run.outcome not in {"killed", "survived", "imprecise"}:
        return run
    if nobody := scope.nobody(fault):
        nothing = dict.fromkeys(("killed_by", "survived", "imprecise", "beside"), ())
        return run.model_copy(update={**nothing, "outcome": nobody[0], "detail": nobody[1]})
    weighed = weigh(fault, kept(run), scope)
    same = (weighed.outcome, weighed.survived) == (run.outcome, run.survived)
    return run.model_copy(
        update={
            "outcome": weighed.outcome,
            "killed_by": weighed.killed,
            "survived": weighed.survived,
            "imprecise": weighed.imprecise,
            "beside": weighed.beside,
            "detail": run.detail if same else weighed.detail,
        }
    )
