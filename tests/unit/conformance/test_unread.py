"""What could not be read is no fault of the network: no verdict, and the sentence says why it was not read."""

from __future__ import annotations

import pytest

from conformance.context import Context
from conformance.judging import judge
from conformance.kernel import reason
from conformance.registry import CHECKS
from harness.model.records import Dump, Result
from tests.unit.conformance import simlab

WHY = "ip: Permission denied"

READERS = [
    ("node", "addr", "mtu.agree", "the links of n1 were not read"),
    ("node", "addr", "node.links", "the links of n1 were not read"),
    ("node", "route", "node.routes", "the routes of n1 were not read"),
    ("node", "sysctl", "node.sysctl", "the sysctls of n1 were not read"),
    ("node", "sysctl", "ct.headroom", "the connection table of n1 was not read"),
    ("node", "counters", "ct.counters", "the counters of n1 were not read before and after"),
    ("node", "kernel", "neigh.headroom", "net.ipv4.neigh.default.gc_thresh2 was not read"),
    ("node", "leases", "ipam.lease.match", "the lease store of n1 was not read"),
    ("pod", "addr", "model.pod-ip.unique", "no address of 10.244.0.2 (a, n1) was read"),
    ("pod", "addr", "model.pod-ip.agrees", "the links of pod a were not read"),
    ("pod", "addr", "model.pod-ip.in-range", "no address of 10.244.0.2 (a, n1) was read"),
    ("pod", "addr", "mtu.agree", "the links of pod a were not read"),
    ("pod", "resolv-conf", "dns.resolv-conf", "/etc/resolv.conf of a was not read"),
]


def judged(check: str, **unread: object) -> Result:
    """The result where dumps of one kind failed.

    Args:
        check: Which one.
        **unread: vantage and what of the dumps; places, where only some failed.
    """
    whole = simlab.context()
    places = unread.pop("places", None)

    def failed(one: Dump) -> bool:
        return all(getattr(one, key) == value for key, value in unread.items()) and (
            places is None or one.place in places  # type: ignore[operator]
        )

    seen = tuple(
        one.model_copy(update={"data": {"error": WHY}}) if isinstance(one, Dump) and failed(one) else one
        for one in whole.observations
    )
    return judge(Context(whole.spec, whole.variant, whole.inventory, seen), CHECKS[check], CHECKS)


@pytest.mark.parametrize(("vantage", "what", "check", "sentence"), READERS)
def test_where_nothing_was_read_the_reason_is_told(vantage: str, what: str, check: str, sentence: str) -> None:
    found = judged(check, vantage=vantage, what=what)
    assert found.status == "error"
    assert found.statement.startswith(f"{sentence}: {WHY}")


def test_one_place_that_was_not_read_takes_nothing_from_the_others() -> None:
    found = judged("node.sysctl", vantage="node", what="sysctl", places={"n2"})
    assert found.status == "error"
    assert {leg.leg for leg in found.legs if leg.status == "error"} == {"n2"}
    assert any(leg.status == "pass" and "n1" in leg.leg for leg in found.legs)


def test_rules_are_unread_only_when_neither_program_read_them() -> None:
    whole = simlab.context()
    unread = {"rules-iptables", "rules-nft"}
    seen = tuple(
        one.model_copy(update={"data": {"error": WHY}}) if isinstance(one, Dump) and one.what in unread else one
        for one in whole.observations
    )
    found = judge(Context(whole.spec, whole.variant, whole.inventory, seen), CHECKS["egress.scope"], CHECKS)
    assert (found.status, found.statement.split(" (")[0]) == ("error", f"the rules of n1 were not read: {WHY}")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((), "nobody asked"),
        ((None,), "nobody asked"),
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
