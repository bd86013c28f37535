"""Kernel state of nodes and pods: what the tools of iproute2 and netfilter print, as records.

One program run per node (`responder batch`) runs all commands of the node and of the pods on it, each in its network
namespace.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.model.node import Lab
from harness.model.records import Dump
from harness.probes.inventory import Inventory

NODE_FACTS = ("addr", "route", "neigh", "fdb", "bridge-link", "rules-iptables", "rules-nft", "sysctl", "leases", "conf")
"""What a node is asked for: the `what` of its dumps."""

POD_FACTS = ("addr", "route", "neigh", "sysctl")
"""What a pod is asked for."""


def dump(
    lab: Lab, inventory: Inventory, *, batch: str = "B0", nodes: Sequence[str] = (), pods: bool = True
) -> list[Dump]:
    """Read the state of all nodes, of the pods on them, and of the router and the far host.

    `what` and the form of `data`:

    - `addr`: list of `ip -d -j address` (links with addresses, MTU, kind, VXLAN details)
    - `route`: list of `ip -d -j route show table all`, without the kernel's local table
    - `neigh`: list of `ip -j neigh`; `fdb`: of `bridge -j fdb`; `bridge-link`: of `bridge -d -j link`
    - `rules-iptables`: text of `iptables-save -c`; `rules-nft`: the `nftables` list of `nft -j list ruleset`
    - `sysctl`: key to value, named keys only; `conntrack`: count, max
    - `leases`: file name to content, of the host-local store; `conf`: file name to content, of /etc/cni/net.d

    A command that fails gives a Dump with data `{"error": …}`.

    Args:
        lab: The lab.
        inventory: Of the same moment.
        batch: As of the observations.
        nodes: Names of the nodes to ask; empty for all, with router and far.
        pods: Ask the pods too.
    """
    raise NotImplementedError
