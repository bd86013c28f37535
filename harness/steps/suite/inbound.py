"""Pods dialled from outside: first as the router is, then with routes to them, which are taken away again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from conformance import outward
from conformance.families import inventory_of, planned
from conformance.inventory import Inventory
from harness.model.family import FAMILIES, Family
from harness.model.node import Node
from harness.model.records import Dump, Observation
from harness.probes.plan import Probe
from harness.steps.suite.deploy import Suite

Look = Callable[[Mapping[str, Sequence[Probe]]], list[Observation]]
"""Runs a plan, and asks nothing twice: most often nobody answers."""

_BITS: Final = {"ipv4": 32, "ipv6": 128}


def observe_inbound(suite: Suite, look: Look) -> list[Observation]:
    """Dial all pods from the router, without and with routes to them.

    Args:
        suite: The deployed suite.
        look: Runs a plan.
    """
    router = suite.attached.lab.router
    if router is None:
        return []
    seen: list[Observation] = [Dump(batch="B5", vantage="router", place="router", what="route", data=_routes(router))]
    seen += look(planned(suite.inventory, lambda there: outward.inbound(there, routed=False)))
    with _routed(router, suite.inventory):
        seen += look(planned(suite.inventory, lambda there: outward.inbound(there, routed=True)))
    return seen


def _routes(router: Node) -> Any:
    """Its routes of both families, or why they could not be read."""
    rows: list[Any] = []
    for family in FAMILIES:
        done = router.runner.run(["ip", _flag(family), "-j", "route", "show"], check=False)
        if not done.ok:
            return {"error": done.tail()}
        rows += json.loads(done.stdout or "[]")
    return rows


@contextmanager
def _routed(router: Node, inventory: Inventory) -> Iterator[None]:
    """A route to each pod over its own node, for as long as the body runs."""
    try:
        for family in inventory.families:
            _batch(router, family, [f"route add {route}" for route in _wanted(inventory, family)])
        yield
    finally:
        for family in inventory.families:
            _batch(router, family, [f"route del {route}" for route in _wanted(inventory, family)])


def _wanted(inventory: Inventory, family: Family) -> list[str]:
    """Routes of single addresses: they are nobody else's, and no wider one is touched."""
    there = inventory_of(inventory, family)
    nodes = {node.name: node.address for node in there.nodes}
    return [f"{pod.ip}/{_BITS[family]} via {nodes[pod.node]}" for pod in there.pods if pod.ip and nodes[pod.node]]


def _batch(router: Node, family: Family, lines: list[str]) -> None:
    """One program run for all; a line that fails spares the others, and the answers show what came of it."""
    words = ["ip", _flag(family), "-force", "-batch", "-"]
    router.runner.run(words, input="".join(f"{line}\n" for line in lines), check=False)


def _flag(family: Family) -> str:
    return {"ipv4": "-4", "ipv6": "-6"}[family]
