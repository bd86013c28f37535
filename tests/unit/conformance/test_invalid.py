"""Nodes that forward what their connection tracking calls INVALID are named, and others are not."""

from __future__ import annotations

import pytest

from conformance.causes.explain import explain
from conformance.strays import ways
from harness.model.records import Leg, Result
from tests.unit.conformance import stored
from tests.unit.conformance.broken_worlds import NETWORK, saved
from tests.unit.conformance.stored import Change

DROPS = "-A KUBE-FORWARD -m conntrack --ctstate INVALID"


def undropped(node: str, what: str = "rules-iptables") -> Change:
    return saved(node, DROPS, "", what)


def causes(*changes: Change, legs: tuple[str, ...], status: str = "fail") -> dict[str, str]:
    """Keys of causes, with their certainty, when clients reset these connections."""
    reset = [
        Leg.model_validate({"leg": leg, "status": status, "reason": "reset", "statement": "reset"}) for leg in legs
    ]
    facts = {"id": "ct.invalid", "title": "t", "area": "services", "level": "S", "status": status, "statement": ""}
    result = Result.model_validate({**facts, "legs": [leg.model_dump() for leg in reset]})
    return {one.key: one.confidence for one in explain(stored.context(NETWORK, *changes), [result])}


def test_the_stored_cluster_has_such_connections() -> None:
    names = {(client.name, service.name) for client, service, _ in ways(stored.context(NETWORK).of("ipv4").inventory)}
    assert names >= {("b", "sole-a"), ("c", "sole-a"), ("d", "sole-c")}


def test_the_node_of_both_is_named() -> None:
    found = causes(undropped("n1"), legs=("b>sole-a/tcp",))
    assert found == {"n1/iptables/filter/KUBE-FORWARD/invalid": "certain"}


def test_between_nodes_both_let_it_pass() -> None:
    found = causes(undropped("n1"), undropped("n2"), legs=("c>sole-a/tcp",))
    assert set(found) == {f"{node}/iptables/filter/KUBE-FORWARD/invalid" for node in ("n1", "n2")}


@pytest.mark.parametrize(
    ("changes", "leg", "status"),
    [
        ((), "b>sole-a/tcp", "fail"),
        ((undropped("n2"),), "b>sole-a/tcp", "fail"),
        ((undropped("n1"),), "c>sole-a/tcp", "fail"),  # n2 drops it
        ((undropped("n1"),), "b>sole-a/tcp/ipv6", "fail"),  # in IPv6 it is dropped
        ((undropped("n1"),), "b>sole-a/tcp", "error"),
    ],
)
def test_nobody_who_drops_it_is_accused(changes: tuple[Change, ...], leg: str, status: str) -> None:
    assert not any(key.endswith("/invalid") for key in causes(*changes, legs=(leg,), status=status))


def test_each_family_has_rules_of_its_own() -> None:
    found = causes(undropped("n1", "rules-iptables6"), legs=("b>sole-a/tcp/ipv6",))
    assert found == {"n1/iptables/filter/KUBE-FORWARD/invalid": "certain"}
