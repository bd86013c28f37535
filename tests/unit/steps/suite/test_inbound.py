"""Routes that the outside is given to pods are taken away again, whatever ends the look."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.model.records import Dump
from harness.runner import Completed
from harness.steps.suite.inbound import observe_inbound
from tests.unit.conformance import simdual, simlab


class Router:
    """Knows routes to single addresses, and runs what `ip -batch` reads."""

    def __init__(self, *, silent: bool = False) -> None:
        self.routes: set[str] = set()
        self.silent = silent
        self.runner = self

    def run(self, argv: Any, *, input: str = "", check: bool = True) -> Completed:  # noqa: A002
        words = tuple(argv)
        assert not check
        for line in input.splitlines():
            _, verb, *route = line.split()
            (self.routes.add if verb == "add" else self.routes.remove)(" ".join(route))
        if self.silent:
            return Completed(words, 2, "", "ip: not found")
        return Completed(words, 0, "[]" if "-j" in words else "", "")


def _suite(router: Router, there: Any) -> Any:
    return SimpleNamespace(attached=SimpleNamespace(lab=SimpleNamespace(router=router)), inventory=there)


def test_pods_are_dialled_without_and_with_routes_of_both_families() -> None:
    router, looks = Router(), []

    def look(asked: Any) -> list[Any]:
        looks.append(({probe.purpose for probe in asked["router"]}, len(router.routes)))
        return []

    seen = observe_inbound(_suite(router, simdual.green("dual").inventory), look)
    assert looks == [({"inbound", "inbound-node"}, 0), ({"inbound-routed"}, 8)]
    assert router.routes == set()
    assert [one.data for one in seen if isinstance(one, Dump)] == [[]]


def test_routes_go_when_the_look_is_interrupted() -> None:
    router = Router()

    def look(asked: Any) -> list[Any]:
        if any(probe.purpose == "inbound-routed" for probe in asked["router"]):
            assert router.routes == {
                "10.244.0.2/32 via 172.18.0.11", "10.244.0.3/32 via 172.18.0.11",
                "10.244.1.2/32 via 172.18.0.12", "10.244.1.3/32 via 172.18.0.12",
            }  # fmt: skip
            raise KeyboardInterrupt
        return []

    with pytest.raises(KeyboardInterrupt):
        observe_inbound(_suite(router, simlab.green().inventory), look)
    assert router.routes == set()


def test_routes_that_cannot_be_read_are_told() -> None:
    seen = observe_inbound(_suite(Router(silent=True), simlab.green().inventory), lambda _: [])
    assert ["error" in one.data for one in seen if isinstance(one, Dump)] == [True]


def test_a_cluster_without_a_router_is_not_dialled() -> None:
    lab = SimpleNamespace(attached=SimpleNamespace(lab=SimpleNamespace(router=None)))
    assert observe_inbound(lab, lambda _: pytest.fail("dialled")) == []  # type: ignore[arg-type]
