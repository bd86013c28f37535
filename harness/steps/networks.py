"""How each driver gives a cluster its pod network: what it needs beforehand, and what is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from harness.cluster.kube import Kube
from harness.cni import bridge, cilium, flannel, weave
from harness.cni.footprint import Footprint
from harness.cni.release import Release
from harness.components.store import Store
from harness.errors import BringUpError
from harness.model.labstate import LabDir
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.probes.datapath import Datapath
from harness.steps import charts
from harness.steps.attach import Attached
from harness.steps.charts import Charts

Object = dict[str, Any]


@dataclass(frozen=True)
class Network:
    """One driver.

    Args:
        images: What its pods are made of.
        manifests: Renders its objects, or those that must be there before its chart; None for one that has none.
        release: Its Helm chart; None where it has none.
        configure: Does what manifests cannot, once the nodes are registered with their podCIDRs. Agents need not wait
            for those: one that is too early ends, and kubelet starts it again after a second.
        datapath: Where it keeps its eBPF.
        file_systems: Directory of a node to the type of file system that must be mounted there before agents start.
        footprint: What it leaves behind, for whoever takes it away again.
    """

    images: tuple[str, ...] = ()
    manifests: Callable[[LabSpec, Variant], list[Object]] | None = None
    release: Release | None = None
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
        cilium.RELEASE,
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


def deliver(store: Store, place: LabDir, variant: Variant) -> None:
    """Put what a network's installation needs into the lab's directory: helm and the chart of one that has a chart."""
    release = network(variant).release
    if release is not None:
        Charts(place).deliver(store, release)


def components(variant: Variant) -> tuple[str, ...]:
    """Components that its installation needs, beside what is in its images."""
    release = network(variant).release
    return () if release is None else (charts.PROGRAM, release.component)


def install(place: LabDir, spec: LabSpec, variant: Variant, api: Kube) -> None:
    """Make a network's objects.

    Args:
        place: The lab's directories; `deliver` was called.
        spec: The lab.
        variant: Its network.
        api: Its API.
    """
    driver = network(variant)
    if driver.manifests is not None:
        api.apply(driver.manifests(spec, variant))
    if driver.release is not None:
        Charts(place).install(driver.release, spec, variant, api)


def objects(place: LabDir, spec: LabSpec, variant: Variant) -> list[Object]:
    """All that `install` makes."""
    driver = network(variant)
    made = driver.manifests(spec, variant) if driver.manifests is not None else []
    if driver.release is not None:
        made = [*made, *Charts(place).objects(driver.release, spec, variant)]
    return made


def apply_network(ready: Attached, nodes: Sequence[Object]) -> None:
    """Give the cluster its pod network: manifests or a chart for agents, commands on nodes for the rest.

    Args:
        ready: The lab.
        nodes: Its Node objects; may be empty for a driver that does not wait for them.
    """
    driver = network(ready.variant)
    install(LabDir(ready.state, ready.spec.name), ready.spec, ready.variant, ready.kube)
    if driver.configure is not None:
        driver.configure(ready, nodes)
