"""Machines without Kubernetes as labs see them: nodes that nothing runs on, a router, and a far host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.model.family import Range
from harness.model.node import Node
from harness.model.records import Tap as TapRecord
from harness.model.spec import LabSpec
from harness.model.spot import Spot
from harness.steps.labs.facts import of_lab
from harness.steps.labs.place import TapWanted
from harness.steps.labs.taps import Listening, listening
from harness.steps.lifecycle.attach import Attached

NETNS = "/run/netns"
"""Where ip-netns(8) keeps names of network namespaces."""


class Machines:
    """The machines of a lab without Kubernetes, for the engine. See `place.Surroundings`.

    Args:
        attached: The lab.
        run: Captures go here.
    """

    agents: tuple[str, ...] = ()

    def __init__(self, attached: Attached, run: Path) -> None:
        self._attached = attached
        self._run = run

    def facts(self, namespace: str) -> dict[str, Any]:
        """See `Surroundings.facts`: there are no pods."""
        del namespace
        nodes = machine_facts(self._attached.spec)
        return {**of_lab(self._attached), "nodes": nodes, "node_list": list(nodes.values()), "pods": {}, "all_pods": []}

    def refresh(self) -> None:
        """See `Surroundings.refresh`: nothing is remembered."""

    def spots(self, on: str, namespace: str, container: str = "") -> list[Spot]:
        """See `Surroundings.spots`. `netns/<node>/<name>` is a network namespace that has a name there."""
        del namespace, container
        kind, _, name = on.partition("/")
        lab, nodes = self._attached.lab, machine_facts(self._attached.spec)
        if kind in {"each-node", "node"}:
            found = [
                Spot(one.name, f"machine {one.name}", one.runner, {"node": nodes[one.name]})
                for one in lab.nodes
                if name in ("", one.name)
            ]
        elif kind in {"router", "far"}:
            found = _outside(lab.router if kind == "router" else lab.far)
        elif kind == "netns":
            found = self._named(*name.split("/", 1))
        else:
            found = []
        if not found:
            msg = f"no place '{on}'"
            raise UsageError(msg, cause="there is no Kubernetes", next_step="places are node/n1, netns/n1/NAME, router")
        return found

    def _named(self, machine: str, name: str = "") -> list[Spot]:
        label = f"network namespace {name} of {machine}"
        return [
            Spot(name, label, one.into_netns(f"{NETNS}/{name}"), {"node": {"name": machine}})
            for one in self._attached.lab.nodes
            if one.name == machine and name
        ]

    @contextmanager
    def taps(self, wanted: Sequence[TapWanted], namespace: str, stem: str) -> Iterator[dict[str, TapRecord]]:
        """See `Surroundings.taps`."""
        with listening(Listening(self._run, stem), wanted, lambda on: self.spots(on, namespace)[0]) as found:
            yield found


def _outside(machine: Node | None) -> list[Spot]:
    return [Spot(machine.name, machine.name, machine.runner)] if machine is not None else []


def machine_facts(spec: LabSpec) -> dict[str, dict[str, Any]]:
    """What expressions may know of machines, by name: what they would know of nodes of a cluster, without its API.

    Args:
        spec: The lab. Each machine has a share of its range of pods, as nodes would.
    """
    found = {}
    for index, name in enumerate(spec.node_names):
        facts: dict[str, Any] = {"name": name, "index": index, "ready": True}
        facts |= {"conditions": {}, "annotations": {}, "labels": {}}
        for family, six in (("ipv4", ""), ("ipv6", "6")):
            share = _share(spec.pods.range(family), spec.pods.mask(family), index)  # type: ignore[arg-type]
            there = family in spec.families
            facts |= {
                f"address{six}": str(spec.node_address(name, family)) if there else "",  # type: ignore[arg-type]
                f"pod_cidr{six}": str(share),
                f"base{six}": str(share[0]),
                f"gateway{six}": str(share[1]),
            }
        found[name] = facts
    return found


def _share(whole: Range, mask: int, index: int) -> Range:
    """The share with a number, of a range that is divided."""
    start = int(whole.network_address) + (index << (whole.max_prefixlen - mask))
    return type(whole)((start, mask))
