"""What a run saw of its policies, as judges read it: who was there, what was tried, and what the API says of it."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from conformance.context import Context
from conformance.inventory import first_of
from conformance.policy.cases import DNS, Case, Dial, catalogue, decisions, dials, endpoints, mesh
from conformance.policy.semantics import Decision, Endpoint
from harness.model.records import Exchange, Lookup

SILENT: Final = frozenset({"timeout", "refused", "unreachable", "reset"})
"""Outcomes of a dial that a policy stopped: implementations may drop or reject."""

Seen = Exchange | Lookup


@dataclass(frozen=True)
class Record:
    """What a run says of its policies.

    Args:
        everybody: Endpoints by name, as they were.
        rounds: As the observer kept them: cases, what was rejected, how long it took.
        newcomer: Its policies, and those that were rejected.
        seen: Observations by purpose and dial.
    """

    everybody: Mapping[str, Endpoint]
    rounds: tuple[Mapping[str, Any], ...]
    newcomer: Mapping[str, Any]
    seen: Mapping[tuple[str, Dial], Seen]
    memo: dict[str, dict[Dial, Decision]] = field(default_factory=dict)

    def of(self, check: str) -> Iterable[tuple[Mapping[str, Any], Case]]:
        """The cases of a requirement, with their rounds."""
        known = {case.id: case for case in catalogue().cases}
        for one in self.rounds:
            for kept in one["cases"]:
                case = known.get(kept["id"])
                if case is not None and case.check == check:
                    yield one, case

    def expected(self, one: Mapping[str, Any]) -> dict[Dial, Decision]:
        """What the API says of every dial of a round, computed again."""
        if one["purpose"] not in self.memo:
            self.memo[one["purpose"]] = self._expected(one)
        return self.memo[one["purpose"]]

    def _expected(self, one: Mapping[str, Any]) -> dict[Dial, Decision]:
        ids = {kept["id"] for kept in one["cases"]}
        cases = [case for case in catalogue().cases if case.id in ids]
        policies = [policy for case in cases for policy in case.policies]
        wanted = dict.fromkeys(dial for case in cases for dial in self.dials(case))
        return decisions(policies, wanted, self.everybody)

    def bracket(self) -> list[Dial]:
        """What is tried before the first policy, and again after the last one if that went well."""
        decided = [found for one in self.rounds for found in self.expected(one).items()]
        forbidden = [dial for dial, decision in decided if not decision.allowed]
        return list(dict.fromkeys((*mesh(self.everybody), *forbidden)))

    def dials(self, case: Case) -> list[Dial]:
        """Dials of a case, as far as this lab can try them."""
        return [dial for dial in dials(case, self.everybody) if dial.src in self.everybody]


def record(context: Context) -> Record | None:
    """The record of a run; None when it has none."""
    known: dict[str, Record | None] = context.memo.setdefault("policy", {})
    if "record" not in known:
        known["record"] = _record(context)
    return known["record"]


def _record(context: Context) -> Record | None:
    data = context.api("policy")
    if not isinstance(data, dict):
        return None
    found = {row["name"]: row for row in data["endpoints"]}
    own = {name: first_of(context.family, row.get("ips") or [row["ip"]]) for name, row in found.items()}
    everybody = endpoints(
        catalogue().world,
        own,
        {name: row["node"] for name, row in found.items() if row["kind"] == "pod"},
        {name: own[name] for name, row in found.items() if row["kind"] == "node"},
        context.family,
    )
    # The name server is asked over one family.
    left_out = set() if context.family == context.entire.family else {DNS}
    everybody = {name: one for name, one in everybody.items() if name in found and name not in left_out}
    seen: dict[tuple[str, Dial], Seen] = {}
    for one in context.observations:
        if one.batch == "B6" and isinstance(one, Exchange | Lookup):
            seen[one.purpose, dial_of(one)] = one
    return Record(everybody, tuple(data["rounds"]), data["newcomer"], seen)


def dial_of(one: Seen) -> Dial:
    """What an observation tried."""
    if isinstance(one, Lookup):
        return Dial(one.src, DNS, "tcp" if one.transport == "tcp" else "udp", 53)
    return Dial(one.src, one.dst, "tcp" if one.proto == "tcp" else "udp", int(one.dial.rpartition(":")[2]))


def got_through(one: Seen) -> bool:
    """At least one try got an answer: for what is forbidden, one is too many."""
    return one.outcome == "ok" or any(attempt.outcome == "ok" for attempt in one.tries)


def stopped(one: Seen) -> bool:
    """A policy may have done it: EPERM is what a sender is told when its own packet is filtered before it leaves."""
    return one.outcome in SILENT or one.errno == errno.EPERM
