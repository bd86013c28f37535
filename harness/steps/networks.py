"""How each driver gives a cluster its pod network: what it needs beforehand, and what is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from harness.cni import bridge, chart, cilium, flannel, weave
from harness.cni.footprint import Footprint
from harness.errors import BringUpError
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.probes.datapath import Datapath
from harness.steps.attach import Attached

Object = dict[str, Any]


@dataclass(frozen=True)
class Network:
    """One driver.

    Args:
        images: What its pods are made of.
        manifests: Renders its objects; None for one that has no pods.
        chart: Values for its published chart, for clusters that can pull its images; None where there is none.
        configure: Does what manifests cannot, once the nodes are registered with their podCIDRs. Agents need not wait
            for those: one that is too early ends, and kubelet starts it again after a second.
        datapath: Where it keeps its eBPF.
        file_systems: Directory of a node to the type of file system that must be mounted there before agents start.
        footprint: What it leaves behind, for whoever takes it away again.
    """

    images: tuple[str, ...] = ()
    manifests: Callable[[LabSpec, Variant], list[Object]] | None = None
    chart: Callable[[LabSpec, Variant], Object] | None = None
    configure: Callable[[Attached, Sequence[Object]], None] | None = None
    datapath: Datapath | None = None
    file_systems: Mapping[str, str] = field(default_factory=dict)
    footprint: Footprint = field(default_factory=Footprint)


def _configure_bridge(ready: Attached, nodes: Sequence[Object]) -> None:
    peers = {
        node["metadata"]["name"]: bridge.peer(node, ready.spec.node_address(node["metadata"]["name"])) for node in nodes
    }

    def configure(name: str) -> None:
        node = next(node for node in ready.lab.nodes if node.name == name)
        for command in bridge.node_commands(ready.spec, ready.variant, peers[name], peers):
            node.runner.run(command.argv, input=command.stdin)

    with ThreadPoolExecutor() as pool:
        list(pool.map(configure, peers))


_NETWORKS = {
    "bridge": Network(configure=_configure_bridge, footprint=bridge.FOOTPRINT),
    "cilium": Network(
        ("cilium", "cilium-operator"),
        cilium.manifests,
        chart.values,
        datapath=Datapath(cilium.MAPS_DIR, cilium.CGROUP_ROOT, cilium.MAPS, cilium.COUNTERS, cilium.REASONS),
        file_systems={"/sys/fs/bpf": "bpf", cilium.CGROUP_ROOT: "cgroup2"},
        footprint=cilium.FOOTPRINT,
    ),
    "flannel": Network(("flannel", "flannel-cni-plugin"), flannel.manifests, footprint=flannel.FOOTPRINT),
    "weave": Network(("weave-kube", "weave-npc"), weave.manifests, footprint=weave.FOOTPRINT),
}


def network(variant: Variant) -> Network:
    """The driver of a variant.

    Raises:
        BringUpError: This version has none.
    """
    try:
        return _NETWORKS[variant.driver]
    except KeyError:
        msg = f"variant '{variant.name}' cannot be brought up by this version"
        raise BringUpError(msg, cause=f"its driver '{variant.driver}' is not there yet") from None


def apply_network(ready: Attached, nodes: Sequence[Object]) -> None:
    """Give the cluster its pod network: manifests for agents, commands on nodes for the rest.

    Args:
        ready: The lab.
        nodes: Its Node objects; may be empty for a driver that does not wait for them.
    """
    driver = network(ready.variant)
    if driver.manifests is not None:
        ready.kube.apply(driver.manifests(ready.spec, ready.variant))
    if driver.configure is not None:
        driver.configure(ready, nodes)
