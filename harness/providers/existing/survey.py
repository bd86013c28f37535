"""The nodes of a cluster, and which of them a run looks at."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from harness.model.family import TITLE, VERSION, Family, Range, family_of_dial

Object = dict[str, Any]

SAMPLE: Final = 10
"""Nodes that a run looks at, unless it is told otherwise."""

MOST: Final = 20
"""Nodes that a run can look at: the mesh between their pods grows with the square."""

_ZONE = "topology.kubernetes.io/zone"
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


@dataclass(frozen=True)
class NodeInfo:
    """A node, as the API describes it.

    Args:
        name: Its name.
        address: Its InternalIP in the cluster's primary family; empty where it has none.
        zone: Its failure domain; empty where it has none.
        control_plane: It has that role.
        system: linux or windows.
        ready: It says so.
        pod_cidr: Its share of the pods' range; empty where the network plugin hands out addresses otherwise.
        pod_cidrs: The same of each family.
        addresses: Its InternalIPs.
        lacks: A family of the cluster's in which it has no address.
        architecture: As amd64.
        runtime: As containerd://2.0.0.
        kernel: Release.
        images: Names of those that it has, as far as it says: kubelet lists the largest fifty.
    """

    name: str
    address: str
    zone: str = ""
    control_plane: bool = False
    system: str = "linux"
    ready: bool = True
    pod_cidr: str = ""
    architecture: str = ""
    runtime: str = ""
    kernel: str = ""
    images: frozenset[str] = frozenset()
    pod_cidrs: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    lacks: Family = "ipv4"

    def address_of(self, family: Family) -> str:
        """Its InternalIP of a family; empty where it has none."""
        return next((one for one in self.addresses or (self.address,) if one and family_of_dial(one) == family), "")

    @property
    def usable(self) -> bool:
        """Pods of the suite can run there."""
        return self.ready and self.system == "linux" and bool(self.address)

    @property
    def obstacle(self) -> str:
        """Why not, in words."""
        if self.system != "linux":
            return f"runs {self.system}"
        return "" if self.usable else f"has no {TITLE[self.lacks]} InternalIP" if self.ready else "is not Ready"


def node(item: Object) -> NodeInfo:
    """Read a Node object."""
    labels = item["metadata"].get("labels") or {}
    status = item.get("status") or {}
    facts = status.get("nodeInfo") or {}
    listed = status.get("addresses") or ()
    addresses = tuple(one["address"] for one in listed if one.get("type") == "InternalIP")
    share = (item.get("spec") or {}).get("podCIDR") or ""
    return NodeInfo(
        name=item["metadata"]["name"],
        address=next(iter(addresses), ""),
        zone=labels.get(_ZONE, ""),
        control_plane=any(key in labels for key in _CONTROL_PLANE),
        system=facts.get("operatingSystem") or labels.get("kubernetes.io/os") or "linux",
        ready=any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or ()),
        pod_cidr=share,
        architecture=facts.get("architecture", ""),
        runtime=facts.get("containerRuntimeVersion", ""),
        kernel=facts.get("kernelVersion", ""),
        images=frozenset(name for image in status.get("images") or () for name in image.get("names") or ()),
        pod_cidrs=tuple((item.get("spec") or {}).get("podCIDRs") or ((share,) if share else ())),
        addresses=addresses,
    )


def choose(nodes: Sequence[NodeInfo], size: int, seed: int) -> tuple[NodeInfo, ...]:
    """Pick nodes so that every kind of node is there: strata are zone and role, each with its share of the sample.

    The shares are those of the largest remainder, and no stratum goes without as long as there are places. The same
    nodes, size and seed give the same sample.

    Args:
        nodes: All of them.
        size: How many to pick.
        seed: Picks within the strata.
    """
    usable = sorted((one for one in nodes if one.usable), key=lambda one: one.name)
    if len(usable) <= size:
        return tuple(usable)
    strata: dict[tuple[str, bool], list[NodeInfo]] = defaultdict(list)
    for one in usable:
        strata[one.zone, one.control_plane].append(one)
    shares = _shares({key: len(members) for key, members in strata.items()}, size)
    generator = random.Random(seed)  # noqa: S311 - a reproducible sample, not a secret
    chosen = [one for key in sorted(strata) for one in generator.sample(strata[key], shares[key])]
    return tuple(sorted(chosen, key=lambda one: one.name))


def _shares(counts: Mapping[tuple[str, bool], int], size: int) -> dict[tuple[str, bool], int]:
    total = sum(counts.values())
    exact = {key: size * count / total for key, count in counts.items()}
    shares = {key: int(value) for key, value in exact.items()}
    # Empty strata first, then by what rounding took from them.
    order = sorted(counts, key=lambda key: (shares[key] > 0, shares[key] - exact[key], key))
    for key in order[: size - sum(shares.values())]:
        shares[key] += 1
    for key in [key for key in sorted(counts) if not shares[key]]:
        rich = max(shares, key=lambda one: (shares[one], one))
        if shares[rich] > 1:
            shares[rich] -= 1
            shares[key] = 1
    return shares


def supernet(networks: Iterable[str], family: Family = "ipv4") -> Range | None:
    """The smallest network that has all of these in it; None for none of them.

    Args:
        networks: In CIDR notation.
        family: Those of the other one do not count.
    """
    parsed = [ip_network(text, strict=False) for text in networks]
    found = [one for one in parsed if one.version == VERSION[family]]
    if not found:
        return None
    low = min(int(one.network_address) for one in found)
    high = max(int(one.broadcast_address) for one in found)
    whole: Range = IPv4Network((low, 32)) if family == "ipv4" else IPv6Network((low, 128))
    while int(whole.broadcast_address) < high:
        whole = whole.supernet()
    return whole
