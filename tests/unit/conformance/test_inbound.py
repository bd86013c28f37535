"""What the outside reaches unasked is recorded, and a router that cannot reach pods at all shows nothing."""

from __future__ import annotations

from harness.model.records import Observation
from tests.unit.conformance.simlab import Change, changed, dumps, exchanges, verdict

CHECK = "egress.inbound"


def _without(purpose: str, src: str, dst: str) -> Change:
    def apply(one: Observation) -> Observation | None:
        told = (getattr(one, "purpose", ""), getattr(one, "src", ""), getattr(one, "dst", ""))
        return None if told == (purpose, src, dst) else one

    return apply


def test_a_leaked_route_is_recorded_with_the_pods_that_it_opens() -> None:
    leak = {"dst": "10.244.0.0/24", "gateway": "172.18.0.11", "dev": "eth0"}
    run = changed(
        exchanges({"outcome": "ok", "errno": 0, "token": "a"}, purpose="inbound", dst="a"),
        dumps(lambda rows: [*rows, leak], vantage="router", what="route"),
    )
    found = verdict(run, CHECK)
    legs = {leg.leg: leg for leg in found.legs}
    assert found.status == "pass"
    assert legs["router>a/tcp"].statement == ("172.18.0.1 (router) dialled 10.244.0.2 (a, n1) unasked, and it answered")
    assert legs["router/routes"].statement == "the router has routes into the cluster: 10.244.0.0/24"
    assert "2 answers of 8 from pods unasked, and 8 with routes" in found.statement


def test_who_answers_in_the_place_of_a_pod_is_told() -> None:
    found = verdict(changed(exchanges({"outcome": "ok", "token": "b"}, purpose="inbound", dst="a")), CHECK)
    assert "dialled 10.244.0.2 (a, n1) unasked, and b answered" in " ".join(leg.statement for leg in found.legs)


def test_routes_that_change_nothing_prove_nothing() -> None:
    found = verdict(changed(exchanges({"outcome": "timeout"}, purpose="inbound-routed")), CHECK)
    assert found.status == "error"
    assert "with routes of its own the router gets 0 answers of 8" in found.statement


def test_a_pod_that_was_not_dialled_is_an_error() -> None:
    found = verdict(changed(_without("inbound-routed", "router", "a")), CHECK)
    assert [leg.leg for leg in found.legs if leg.status == "error"] == ["router>a/tcp", "router>a/udp"]
