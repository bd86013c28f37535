"""What could not be read is no fault of the network: no verdict, and the sentence says why it was not read."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from conformance.context import Context
from conformance.dumps import reason
from conformance.judging import judge
from conformance.registry import CHECKS
from harness.model.family import FAMILIES, Family
from harness.model.records import Dump, Observation, Result
from tests.unit.conformance import simdual, simlab

WHY = "ip: Permission denied"

READERS = [
    ("node", "addr", "mtu.agree", "the links of n1"),
    ("node", "addr", "node.links", "the links of n1"),
    ("node", "addr", "model.pod-ip.unique", "the links of n1"),
    ("node", "route", "node.routes", "the routes of n1"),
    ("node", "sysctl", "node.sysctl", "the sysctls of n1"),
    ("node", "sysctl", "ct.headroom", "the sysctls of n1"),
    ("node", "counters", "ct.counters", "the counters of n1"),
    ("node", "kernel", "neigh.headroom", "the limits of n1"),
    ("node", "leases", "ipam.lease.match", "the lease store of n1"),
    ("node", "sandboxes", "model.netns.private", "the sandboxes of n1"),
    ("node", "fdb", "node.overlay", "the forwarding entries (FDB) of n1"),
    ("pod", "addr", "model.pod-ip.unique", "the links of a"),
    ("pod", "addr", "model.pod-ip.agrees", "the links of 10.244.0.2 (a, n1)"),
    ("pod", "addr", "model.pod-ip.in-range", "the links of 10.244.0.2 (a, n1)"),
    ("pod", "addr", "mtu.agree", "the links of 10.244.0.2 (a, n1)"),
    ("pod", "resolv-conf", "dns.resolv-conf", "/etc/resolv.conf of 10.244.0.2 (a, n1)"),
    ("cni", "verbs", "cni.add.result", "the answers of CNI plugins of n1"),
]


SAY_WHAT_THEY_DO_NOT_KNOW = {"node.filters"}
LISTS = {("node", "programs"), ("node", "queues")}
"""What may decide over packets and cannot be evaluated: a node without a program to list it has the rest judged."""


def without(failed: Callable[[Dump], bool], whole: Context | None = None) -> Context:
    """A run in which some dumps failed; without another word in the lab of IPv4."""
    whole = whole or simlab.green()

    def seen(one: Observation) -> Observation:
        return one.model_copy(update={"data": {"error": WHY}}) if isinstance(one, Dump) and failed(one) else one

    return Context(whole.spec, whole.variant, whole.inventory, tuple(map(seen, whole.observations)))


def judged(check: str, failed: Callable[[Dump], bool], whole: Context | None = None) -> Result:
    """The result where some dumps failed."""
    return judge(without(failed, whole), CHECKS[check], CHECKS)


@cache
def green() -> dict[str, Result]:
    """What all checks say of the lab of IPv4."""
    run = simlab.green()
    return {check: judge(run, CHECKS[check], CHECKS) for check in CHECKS}


@pytest.mark.parametrize(("vantage", "what", "check", "subject"), READERS)
def test_where_nothing_was_read_the_reason_is_told(vantage: str, what: str, check: str, subject: str) -> None:
    found = judged(check, lambda one: (one.vantage, one.what) == (vantage, what))
    assert (found.status, found.reason) == ("error", "unread")
    assert found.statement.startswith(f"{subject} could not be read: {WHY}")


@pytest.mark.parametrize(
    ("vantage", "what"),
    sorted({(one.vantage, one.what) for one in simlab.context().observations if isinstance(one, Dump)}),
)
def test_no_check_fails_or_passes_by_what_was_not_read(vantage: str, what: str) -> None:
    """All checks, those too that come to read more: a false alarm is as bad as a miss."""
    run = without(lambda one: (one.vantage, one.what) == (vantage, what))
    for check, usual in green().items():
        found = judge(run, CHECKS[check], CHECKS)
        if (found.status, found.statement, found.legs) == (usual.status, usual.statement, usual.legs):
            continue
        told = [found.statement, *(leg.statement for leg in found.legs if leg.status == "error")]
        if check in SAY_WHAT_THEY_DO_NOT_KNOW and (vantage, what) in LISTS:
            assert any(leg.status == "record" and WHY in leg.statement for leg in found.legs), f"{check}: {told}"
            continue
        assert found.status in {"error", "skip"}, f"{check}: {found.statement}"
        assert found.status == "skip" or any(WHY in text for text in told), f"{check}: {found.statement}"


@pytest.mark.parametrize("check", ["node.masq-rules", "node.forward", "egress.scope"])
@pytest.mark.parametrize(("what", "family"), [("rules-iptables", "ipv4"), ("rules-iptables6", "ipv6")])
def test_rules_of_iptables_that_only_nft_sees_are_unread(what: str, family: Family, check: str) -> None:
    """Seen on a cluster of others: its probe had no ip6tables-save, and nft shows such rules without their targets."""
    table = {"ipv4": "ip", "ipv6": "ip6"}[family]
    opaque: dict[str, object] = {
        "rule": {"family": table, "table": "nat", "chain": "POSTROUTING", "expr": [{"xt": None}]}
    }
    whole = simdual.context("dual", [_with(one, opaque) for one in simdual.observations("dual")])
    assert judged(check, lambda _: False, whole).status == "pass"
    found = judged(check, lambda one: one.what == what, whole)
    assert (found.status, found.families) == ("error", {**dict.fromkeys(FAMILIES, "pass"), family: "error"})
    assert all(WHY in leg.statement for leg in found.legs if leg.status == "error")


def _with(one: Observation, rule: dict[str, object]) -> Observation:
    if isinstance(one, Dump) and one.what == "rules-nft":
        return one.model_copy(update={"data": [*one.data, rule]})
    return one


def test_one_place_that_was_not_read_takes_nothing_from_the_others() -> None:
    found = judged("node.sysctl", lambda one: (one.what, one.place) == ("sysctl", "n2"))
    assert found.status == "error"
    assert {leg.leg for leg in found.legs if leg.status == "error"} == {"n2"}
    assert any(leg.status == "pass" and "n1" in leg.leg for leg in found.legs)


def test_rules_are_unread_when_neither_program_read_them() -> None:
    found = judged("egress.scope", lambda one: one.what in {"rules-iptables", "rules-nft"})
    assert found.statement.startswith(f"the rules of n1 could not be read: {WHY}")
    found = judged("svc.kpf", lambda one: one.what == "rules-iptables")
    assert found.status in {"error", "not-applicable"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((), "it was not read"),
        ((None,), "it was not read"),
        (({"error": "x"},), "x"),
        (({"error": "x"}, {"error": "x"}), "x"),
        (({"error": "x"}, {"error": "y"}, None), "x; y"),
        (({"error": "x"}, []), ""),
        (("text",), ""),
        (({"error": 1, "other": 2},), ""),
    ],
)
def test_the_reason_is_that_of_all_that_failed(data: tuple[object, ...], words: str) -> None:
    assert reason(*data) == words


def rules(number: int) -> list[dict[str, object]]:
    """A rule that has dropped so many packets."""
    expr = [{"counter": {"packets": number, "bytes": 0}}, {"drop": None}]
    return [{"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 4, "expr": expr}}]


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        (rules(7), rules(7), "pass"),
        (rules(7), rules(8), "fail"),
        ({"error": WHY}, rules(7), "error"),
        (rules(7), {"error": WHY}, "error"),
        # A kernel that has no nft at all: its connection table is judged alone.
        ({"error": WHY}, {"error": WHY}, "pass"),
    ],
)
def test_what_rules_dropped_before_is_no_loss_where_it_was_read_only_afterwards(
    before: object, after: object, status: str
) -> None:
    whole = simlab.context()
    data = {"B0": before, "B1": after}

    def seen(one: Observation) -> Observation:
        return one.model_copy(update={"data": data[one.batch]}) if isinstance(one, Dump) and counted(one) else one

    def counted(one: Dump) -> bool:
        return one.what == "rules-nft" and one.batch in data

    observations = tuple(map(seen, whole.observations))
    assert sum(isinstance(one, Dump) and counted(one) and one.data == after for one in observations) >= 1
    found = judge(Context(whole.spec, whole.variant, whole.inventory, observations), CHECKS["ct.counters"], CHECKS)
    assert found.status == status, found.statement
