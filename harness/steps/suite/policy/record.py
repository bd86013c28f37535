"""What a run keeps of its policies: who was there, what was tried, and what the API says of each dial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from conformance.policy.cases import (
    DIRECTIONS,
    DNS,
    NEW,
    PREFIX,
    Case,
    Catalogue,
    Dial,
    decisions,
    dials,
    subjects,
)
from conformance.policy.model import Policy
from conformance.policy.semantics import Decision, Endpoint
from harness.model.family import Family
from harness.model.records import Dump
from harness.probes import plan as probes
from harness.steps.suite.policy import newcomer

BATCH: Final = "B6"


@dataclass(frozen=True)
class Arena:
    """The pods of the cases, running.

    Args:
        cases: What is to be tried.
        views: Endpoints by name, as each family has them; the primary family first.
        sites: Ways to run probes, by endpoint name.
        name: A name that the cluster's DNS knows.
    """

    cases: Catalogue
    views: Mapping[Family, Mapping[str, Endpoint]]
    sites: Mapping[str, probes.Prober]
    name: str

    @property
    def everybody(self) -> Mapping[str, Endpoint]:
        """Endpoints by name, with the addresses of the primary family."""
        return next(iter(self.views.values()))

    def dials(self, case: Case) -> tuple[Dial, ...]:
        """What is tried under a case, over each family."""
        return self.over(dials(case, self.everybody))

    def over(self, wanted: Iterable[Dial]) -> tuple[Dial, ...]:
        """Dials over each family; the name server is asked over the primary one."""
        listed = list(wanted)
        primary = next(iter(self.views))
        return tuple(
            replace(dial, family=family)
            for family in self.views
            for dial in listed
            if dial.dst != DNS or family == primary
        )

    def decided(self, policies: Sequence[Policy], wanted: Iterable[Dial]) -> dict[Dial, Decision]:
        """What the API says of each dial."""
        found: dict[Dial, Decision] = {}
        for dial in wanted:
            found |= decisions(policies, [dial], self.views[dial.family])
        return found


@dataclass
class Round:
    """What happened in one round; becomes part of the record.

    Args:
        number: From 1.
        cases: Tried together.
        wanted: Dials, and what the API says of each.
        waived: Dials of requirements that the variant declares not to meet: nobody waits for them.
        rejected: Policies that the API server did not take, with its reason.
        seconds: From the last policy's acceptance until all dials were as the API says; None: never.
        looks: How often was looked.
    """

    number: int
    cases: tuple[Case, ...]
    wanted: dict[Dial, Decision]
    waived: frozenset[Dial] = frozenset()
    rejected: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None
    looks: int = 0

    @property
    def purpose(self) -> str:
        """Of its observations."""
        return f"policy-{self.number}"

    @property
    def denied(self) -> frozenset[Dial]:
        """Dials that the policies forbid."""
        return frozenset(dial for dial, one in self.wanted.items() if not one.allowed)


def record(
    arena: Arena, played: Sequence[Round], *, enforcing: bool, rejected: Mapping[str, str] | None = None
) -> Dump:  # fmt: skip
    """What was tried, with what the API says of each dial, for judges and reports."""
    data = {
        "enforcing": enforcing,
        "endpoints": [
            {"name": one.name, "kind": one.kind, "ip": one.ip, "node": one.node,
             "ips": [view[one.name].ip for view in arena.views.values()]}
            for one in arena.everybody.values()
        ],
        "rounds": [_round_data(arena, one) for one in played],
        "newcomer": _newcomer_data(arena, dict(rejected or {})),
    }  # fmt: skip
    return Dump(batch=BATCH, vantage="api", place="cluster", what="policy", data=data)


def _round_data(arena: Arena, one: Round) -> dict[str, Any]:
    return {
        "purpose": one.purpose,
        "cases": [
            {
                **case.model_dump(mode="json", include={"id", "check", "title"}),
                "policies": _manifests(arena, case.policies),
                "closed": {direction: subjects(case, arena.everybody, direction) for direction in DIRECTIONS},
                "dials": [str(dial) for dial in arena.dials(case)],
            }
            for case in one.cases
        ],
        "rejected": one.rejected,
        "seconds": one.seconds,
        "looks": one.looks,
        "expected": _said(one.wanted),
    }


def _newcomer_data(arena: Arena, rejected: dict[str, str]) -> dict[str, Any]:
    """The newcomer as a round of its own."""
    one = arena.cases.newcomer
    wanted = {
        replace(dial, family=family): decision
        for family in arena.views
        for dial, decision in one.expected(arena.cases.world, family).items()
    }
    case = {
        "id": "newcomer",
        "check": newcomer.CHECK,
        "title": "A pod created after its policy is isolated from its first instant",
        "policies": _manifests(arena, one.policies),
        "closed": {"Ingress": (), "Egress": (one.full_name,)},
        "dials": [str(dial) for dial in wanted],
    }
    return {
        "purpose": NEW,
        "cases": [case],
        "rejected": rejected,
        "expected": _said(wanted),
    }


def _manifests(arena: Arena, policies: Sequence[Policy]) -> list[dict[str, object]]:
    return [policy.of(arena.views).manifest(PREFIX + policy.namespace) for policy in policies]


def _said(wanted: Mapping[Dial, Decision]) -> dict[str, Any]:
    return {str(dial): {"allowed": one.allowed, "why": one.why} for dial, one in sorted(wanted.items())}
