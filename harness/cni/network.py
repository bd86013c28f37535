"""What the program knows of a pod network: the `NETWORK` of its folder here, `harness/cni/<driver>/network.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.cni.footprint import Footprint
from harness.cni.release import Release
from harness.model.datapath import Datapath, DropMonitor
from harness.model.node import Node
from harness.model.spec import LabSpec
from harness.model.variant import Variant

Object = dict[str, Any]


@dataclass(frozen=True)
class Configuration:
    """The ConfigMap of an agent, by which a cluster's variant is recognised.

    Args:
        namespace: Where it is.
        name: Its name.
        variant: Finds the variant in its data: given the data and the network's variants, it returns the variant that
            fits, with what this cluster changed, and the pods' range where the data say so; None where none fits.
    """

    namespace: str
    name: str
    variant: Callable[[Mapping[str, str], Sequence[Variant]], tuple[Variant, str] | None]


@dataclass(frozen=True)
class Network:
    """One driver.

    Args:
        images: What its pods are made of.
        manifests: Renders its objects, or those that must be there before its chart; None for one that has none.
        adapted: Gives the project's own manifest, of a version that is not pinned, what the lab is; None where
            `manifests` is for all versions.
        release: Its Helm chart; None where it has none.
        configure: Does what manifests cannot, on a lab's nodes, once they are registered with their podCIDRs: given
            the nodes, and their objects. Agents need not wait for those: one that is too early ends, and kubelet
            starts it again after a second.
        datapath: Where it keeps its eBPF.
        drops: How its agents tell which packets their programs drop; None where no programs do.
        file_systems: Directory of a node to the type of file system that must be mounted there before agents start.
        footprint: What it leaves behind, for whoever takes it away again.
        agents: Programs on nodes that repair the network by themselves.
        configuration: How its agents' configuration is read in a cluster of others; None where it has but one variant.
    """

    images: tuple[str, ...] = ()
    manifests: Callable[[LabSpec, Variant], list[Object]] | None = None
    adapted: Callable[[Iterable[Object], LabSpec, Variant], list[Object]] | None = None
    release: Release | None = None
    configure: Callable[[LabSpec, Variant, Sequence[Node], Sequence[Object]], None] | None = None
    datapath: Datapath | None = None
    drops: DropMonitor | None = None
    file_systems: Mapping[str, str] = field(default_factory=dict)
    footprint: Footprint = field(default_factory=Footprint)
    agents: tuple[str, ...] = ()
    configuration: Configuration | None = None
