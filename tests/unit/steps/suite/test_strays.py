"""Packets are sent into connections while they are held, and a server that listened too late is asked again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness import timeouts
from harness.probes.plan import Prober
from harness.runner import HostRunner
from harness.steps.suite import strays
from tests.unit.conformance import simdual, simlab


class Agents:
    """What agents say: each client has a connection of its own, and servers see them all once they listen.

    Args:
        late: Looks in which no server listens yet.
    """

    def __init__(self, late: int = 0) -> None:
        self.late = late
        self.looks = 0

    def run_at(self, site: Prober, requests: list[dict[str, Any]], _: float) -> dict[str, dict[str, Any]]:
        if requests[0]["kind"] == "hold":
            return {
                one["id"]: {"before": "ok", "outcome": "ok", "token": "c", "source": f"{site.name}:{one['dial']}"}
                for one in requests
            }
        self.looks += 1
        seen = [
            {"peer": f"{client}:{dial}", "sent": 2, "resets": 0}
            for client in "abcd"
            for dial in (*(one["dial"] for one in requests), *(one.cluster_ip + ":80" for one in SERVICES))
        ]
        return {one["id"]: {"outcome": "ok", "flows": seen if self.looks > self.late else []} for one in requests}


SERVICES = simlab.green().inventory.services


def look(monkeypatch: pytest.MonkeyPatch, agents: Any, there: Any = None) -> list[Any]:
    inventory = there or simlab.green().inventory
    sites = {site.name: Prober(site.name, site.node, site.ip, HostRunner()) for site in inventory.sites}
    monkeypatch.setattr(strays, "run_at", agents.run_at)
    with timeouts.paced(0.01):
        return strays.observe_strays(SimpleNamespace(inventory=inventory, sites=sites))  # type: ignore[arg-type]


def test_both_ends_of_each_connection_are_told_by_server(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = Agents()
    seen = {one.place: one.data for one in look(monkeypatch, agents)}
    assert set(seen) == {"a", "c"}
    assert agents.looks == 2
    held = [(row["client"], row["target"]) for row in seen["c"] if "client" in row]
    assert held == [("d", "sole-c"), ("d", "c"), ("a", "sole-c"), ("a", "c")]
    assert {row["sent"] for row in seen["c"] if "sent" in row} == {2}


def test_a_server_that_listened_too_late_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = Agents(late=2)
    look(monkeypatch, agents)
    assert agents.looks == 4


def test_a_server_that_never_sees_its_connections_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = Agents(late=1000)
    seen = look(monkeypatch, agents)
    assert agents.looks == 2 * strays.LOOKS
    assert not any("sent" in row for one in seen for row in one.data)


def test_an_agent_that_may_not_open_a_raw_socket_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(Agents):
        def run_at(self, site: Prober, requests: list[dict[str, Any]], _: float) -> dict[str, dict[str, Any]]:
            lines = super().run_at(site, requests, _)
            told = {"outcome": "error", "detail": "operation not permitted"}
            return lines if requests[0]["kind"] == "hold" else dict.fromkeys(lines, told)

    seen = look(monkeypatch, Refused())
    assert [row["error"] for row in seen[0].data if "error" in row] == ["operation not permitted"]


def test_each_family_has_connections_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = look(monkeypatch, Agents(), simdual.green("dual").inventory)
    assert sum("client" in row for one in seen for row in one.data) == 16
