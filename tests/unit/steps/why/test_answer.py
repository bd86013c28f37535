"""The answer on one flow, from what was read: a stored cluster, healthy and broken."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.context import Context
from conformance.netfilter import Flow
from harness.model.records import Exchange
from harness.probes.sandboxes import Sandbox
from harness.steps.suite.trace import End
from harness.steps.why.answer import Answer, judge
from harness.steps.why.ends import Virtual
from tests.unit.conformance import stored
from tests.unit.conformance.broken_worlds import BROKEN, NETWORK


def seen(*names: str) -> Context:
    return stored.context(NETWORK, *(BROKEN[name][0] for name in names)).of("ipv4")


def end(there: Context, name: str) -> End:
    """A pod of the stored cluster."""
    site = there.inventory.by_name[name]
    sandbox: Any = Sandbox.model_validate(
        {"id": "1", "pod": name, "namespace": "", "uid": "1", "node": site.node, "pid": 1, "netns": "", "inode": 1}
    )
    return End(name, site.ip, None, sandbox, None)


def tried(outcome: Any) -> Exchange:
    return Exchange(
        batch="why", purpose="why", src="a", src_node="n1", src_ip="", dst="c", dst_node="", proto="tcp", dial="",
        outcome=outcome,
    )  # fmt: skip


def answer(there: Context, outcome: str | None, target: str = "c") -> Answer:
    sender, receiver = end(there, "a"), end(there, target)
    flow = Flow(sender.address, receiver.address)
    return judge(there, (sender, "a"), receiver, flow, tried(outcome) if outcome else None, None)


@pytest.mark.parametrize("outcome", ["ok", None])
def test_nothing_is_wrong_with_a_healthy_flow(outcome: str | None) -> None:
    found = answer(seen(), outcome)
    assert found.fine
    assert found.causes == ()
    assert found.steps[0].place == "a"
    assert {step.direction for step in found.steps} == {"request", "reply"}


def test_a_flow_that_every_kernel_lets_pass_and_nobody_answers_is_not_fine() -> None:
    found = answer(seen(), "timeout")
    assert not found.fine
    assert found.causes == ()


def test_what_stops_it_is_named() -> None:
    found = answer(seen("route"), "timeout")
    assert not found.fine
    assert [(one.key, one.confidence) for one in found.causes] == [(BROKEN["route"][2], "certain")]


def test_what_would_drop_a_packet_that_was_answered_is_not_certain() -> None:
    """The kernel decides, and not the model of it."""
    found = answer(seen("drop"), "ok")
    assert found.fine
    assert [one.confidence for one in found.causes] == ["possible"]


def test_another_sender_is_wrong_although_the_packet_is_answered() -> None:
    found = answer(seen("masqueraded"), "ok")
    assert not found.fine
    assert [one.kind for one in found.causes] == ["rule.masquerades"]


def test_a_service_without_endpoints_is_the_cause() -> None:
    there = seen()
    service = next(one for one in there.inventory.services if one.name == "vip-empty")
    item = {"metadata": {"name": "vip-empty", "namespace": "shop"}, "spec": {}}
    virtual = Virtual(item, {"port": service.ports[0].port}, service.cluster_ip)
    sender = end(there, "a")
    flow = Flow(sender.address, service.cluster_ip, dport=service.ports[0].port)
    receiver = End("svc/vip-empty", service.cluster_ip, None, None, None)
    found = judge(there, (sender, "a"), receiver, flow, tried("refused"), virtual)
    assert not found.fine
    assert [one.kind for one in found.causes] == ["service.empty"]
    assert found.causes[0].look == "kubectl -n shop get endpointslices,pods -o wide"
