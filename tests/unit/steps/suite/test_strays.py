"""Packets are sent into connections while they are held, by servers that listen before any client connects."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from harness import timeouts
from harness.model.family import endpoint
from harness.probes.plan import Prober
from harness.probes.running import Running
from harness.runner import HostRunner
from harness.steps.suite import strays
from tests.unit.conformance import simdual, simlab


class Agents:
    """What agents say: each client has a connection of its own, and servers see them all once they listen.

    Args:
        late: Looks in which servers see none of them.
    """

    def __init__(self, late: int = 0) -> None:
        self.late = late
        self.looks = 0
        self.listening = False

    def run_at(self, site: Prober, requests: list[dict[str, Any]], _: float) -> dict[str, dict[str, Any]]:
        assert self.listening
        return {
            one["id"]: {"before": "ok", "outcome": "ok", "token": "c", "source": f"{site.name}:{one['dial']}"}
            for one in requests
        }

    @contextlib.contextmanager
    def running(self, requests: dict[Prober, list[dict[str, Any]]]) -> Iterator[Running]:
        self.looks += 1
        self.listening = True
        found = Running()
        yield found
        self.listening = False
        found.lines = {site: {one["id"]: self.listened(requests, one) for one in requests[site]} for site in requests}

    def listened(self, requests: dict[Prober, list[dict[str, Any]]], one: dict[str, Any]) -> dict[str, Any]:
        dials = (one["dial"], *(service.cluster_ip + ":80" for service in SERVICES))
        dials += tuple(other["dial"] for others in requests.values() for other in others)
        seen = [{"peer": f"{client}:{dial}", "sent": 2, "resets": 0} for client in "abcd" for dial in set(dials)]
        return {"outcome": "ok", "flows": seen if self.looks > self.late else []}


SERVICES = simlab.green().inventory.services


def look(monkeypatch: pytest.MonkeyPatch, agents: Any, there: Any = None) -> list[Any]:
    inventory = there or simlab.green().inventory
    sites = {site.name: Prober(site.name, site.node, site.ip, HostRunner()) for site in inventory.sites}
    monkeypatch.setattr(strays, "run_at", agents.run_at)
    monkeypatch.setattr(strays, "running", agents.running)
    with timeouts.paced(0.01):
        return strays.observe_strays(SimpleNamespace(inventory=inventory, sites=sites))  # type: ignore[arg-type]


def test_both_ends_of_each_connection_are_told_by_server(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = Agents()
    seen = {one.place: one.data for one in look(monkeypatch, agents)}
    assert set(seen) == {"a", "c"}
    assert agents.looks == 1
    held = [(row["client"], row["target"]) for row in seen["c"] if "client" in row]
    assert held == [("d", "sole-c"), ("d", "c"), ("a", "sole-c"), ("a", "c")]
    assert {row["sent"] for row in seen["c"] if "sent" in row} == {2}


def test_a_connection_that_its_server_did_not_see_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = Agents(late=1)
    assert any("sent" in row for one in look(monkeypatch, agents) for row in one.data)
    assert agents.looks == 2


def test_a_server_that_never_sees_its_connections_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = Agents(late=1000)
    seen = look(monkeypatch, agents)
    assert agents.looks == strays.LOOKS
    assert not any("sent" in row for one in seen for row in one.data)


@pytest.mark.parametrize("target", ["c", "sole-c"])
def test_a_connection_to_a_pod_that_was_harmed_is_looked_at_again_and_one_to_a_service_is_not(
    monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    there = simlab.green().inventory
    dials = {"c": endpoint(there.by_name["c"].ip, there.by_name["c"].port)}
    dials["sole-c"] = next(f"{one.cluster_ip}:80" for one in there.services if one.name == "sole-c")

    class Harmed(Agents):
        def run_at(self, site: Prober, requests: list[dict[str, Any]], deadline: float) -> dict[str, dict[str, Any]]:
            lines = super().run_at(site, requests, deadline)
            hit = {one["id"] for one in requests if one["dial"] == dials[target] and self.looks == 1}
            return {name: {**line, **({"outcome": "reset"} if name in hit else {})} for name, line in lines.items()}

    agents = Harmed()
    look(monkeypatch, agents)
    assert agents.looks == {"c": 2, "sole-c": 1}[target]


def test_an_agent_that_may_not_open_a_raw_socket_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(Agents):
        def listened(self, _: Any, __: Any) -> dict[str, Any]:
            return {"outcome": "error", "detail": "operation not permitted"}

    seen = look(monkeypatch, Refused())
    assert [row["error"] for row in seen[0].data if "error" in row] == ["operation not permitted"]


def test_a_segment_that_could_not_be_sent_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Blocked(Agents):
        def listened(self, requests: Any, one: Any) -> dict[str, Any]:
            told = super().listened(requests, one)
            return {**told, "flows": [{**row, "sent": 0, "error": "no buffer space"} for row in told["flows"]]}

    seen = look(monkeypatch, Blocked())
    assert {row["refused"] for one in seen for row in one.data if "sent" in row} == {"no buffer space"}


def test_a_connection_that_got_another_source_port_is_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Translated(Agents):
        def run_at(self, site: Prober, requests: list[dict[str, Any]], deadline: float) -> dict[str, dict[str, Any]]:
            lines = super().run_at(site, requests, deadline)
            return {name: {**line, "peer": line["source"], "source": "x:1"} for name, line in lines.items()}

    agents = Translated()
    look(monkeypatch, agents)
    assert agents.looks == 1


def test_each_family_has_connections_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = look(monkeypatch, Agents(), simdual.green("dual").inventory)
    assert sum("client" in row for one in seen for row in one.data) == 16
