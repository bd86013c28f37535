"""What is looked at of a whole cluster, and what is left out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import BringUpError
from harness.model.journal import Journal
from harness.steps.why import survey as module
from harness.steps.why.survey import MOST, after, chosen, survey
from tests.unit.conformance import stored
from tests.unit.conformance.broken_worlds import BROKEN, NETWORK
from tests.unit.steps.why.test_look import pod


def names(found: Any) -> list[str]:
    return [one.key for one in found]


def test_all_pods_are_taken_up_to_a_number_of_each_node_those_that_are_meant_first() -> None:
    pods = [
        pod("z", node="n1"), pod("y", node="n1"), pod("x", node="n2"), pod("h", node="n2", host_network=True),
        pod("dns", node="n2", namespace="kube-system"), pod("mine", node="n1", namespace="lab-x"),
    ]  # fmt: skip
    assert names(chosen(pods, {"lab-x"})) == [
        "lab-x/mine",
        "shop/x",
        "shop/y",
        "shop/z",
        "kube-system/dns",
    ]
    crowd = [pod(f"p{n}-{m}", node=f"n{n}") for n in range(3) for m in range(MOST + 1)]
    assert len(names(chosen(crowd))) == 3 * MOST


def attached(monkeypatch: pytest.MonkeyPatch, *changes: Any, policies: tuple[str, ...] = ()) -> Any:
    """A cluster whose kernels say what those of the stored one do."""
    seen = stored.context(NETWORK, *changes)
    asked: dict[str, Any] = {}

    def context(_: object, __: object, ends: Any, *___: object) -> Any:
        asked["pods"] = [end.sandbox.key for end in ends]
        asked["ips"] = [end.sandbox.ips for end in ends]
        return seen

    item = {"metadata": {"name": "local", "namespace": "shop"}, "spec": {"internalTrafficPolicy": "Local"}}
    stock = SimpleNamespace(nodes=(), sandboxes=(pod("a"), pod("b", namespace="closed", node="n2")))
    monkeypatch.setattr("harness.steps.why.survey.sandboxes.take", lambda _: stock)
    monkeypatch.setattr("harness.steps.why.survey.look.api", lambda _: SimpleNamespace(services=[item], slices=[]))
    monkeypatch.setattr("harness.steps.why.survey.look.context", context)
    listed = [{"metadata": {"name": "np", "namespace": one}} for one in policies]
    kube = SimpleNamespace(list=lambda *_: listed, get=lambda *_: {"status": {"podIPs": [{"ip": "fd00::7"}]}})
    return SimpleNamespace(lab=None, kube=kube, asked=asked, spec=SimpleNamespace(families=("ipv4", "ipv6")))


def test_a_healthy_cluster_has_nothing_wrong_and_a_broken_one_says_what(monkeypatch: pytest.MonkeyPatch) -> None:
    # The stored cluster's own Services move, or are local, which its roles say and no namespace.
    monkeypatch.setattr(module, "_only_local", lambda *_: {"moving", "itp-local"})
    found = survey(attached(monkeypatch), Journal())
    assert (found.causes, found.pods, found.blind) == ((), ("closed/b", "shop/a"), ())
    broken = survey(attached(monkeypatch, BROKEN["route"][0]), Journal())
    assert [one.key for one in broken.causes] == [BROKEN["route"][2]]


def test_pods_with_policies_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    there = attached(monkeypatch, policies=("closed",))
    survey(there, Journal())
    assert there.asked["pods"] == ["shop/a"]
    assert there.asked["ips"] == [("10.244.0.2", "fd00::7")], "it is looked for at the addresses that it was given"


def test_services_that_stay_on_their_node_are_left_out() -> None:
    listed = [
        {"metadata": {"name": name, "namespace": space}, "spec": spec}
        for name, space, spec in (
            ("local", "shop", {"internalTrafficPolicy": "Local"}),
            ("web", "shop", {"internalTrafficPolicy": "Cluster"}),
            ("web", "closed", {}),
        )
    ]
    assert list(module._only_local(listed, {"closed"})) == ["shop/local", "closed/web"]


def test_what_cannot_be_looked_at_after_a_failure_is_no_failure_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> None:
        msg = "the API does not answer"
        raise BringUpError(msg)

    there = attached(monkeypatch)
    monkeypatch.setattr("harness.steps.why.survey.look.api", gone)
    assert after(there, Journal()) == ()
