"""The baseline that explains what flannel automates: the bridge plugin, static routes, one masquerade rule.

No agent runs. What flanneld learns from the API and writes into the kernel, the harness writes once: a CNI
configuration with the node's own podCIDR, a route to every other node's podCIDR via that node's address, and a rule
that masquerades what leaves the pod network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from harness.cni.command import Command
from harness.cni.footprint import LEASES, PLUGIN_CHAINS, Footprint
from harness.model.family import Address, Family, Range, family_of
from harness.model.spec import LabSpec
from harness.model.variant import Variant

CONF_DIR = "/etc/cni/net.d"
COMMENT = "cnilab: pods to the outside"

FOOTPRINT = Footprint(
    links=("cni0",),
    chains=PLUGIN_CHAINS,
    comments=(COMMENT,),
    files=(f"{CONF_DIR}/10-bridge.conflist", LEASES),
)


@dataclass(frozen=True)
class Peer:
    """What a node must know of a node.

    Args:
        name: Kubernetes node name.
        addresses: InternalIP of each family.
        pod_cidrs: `spec.podCIDRs` by family, the primary family first.
    """

    name: str
    addresses: Mapping[Family, Address]
    pod_cidrs: Mapping[Family, Range]


def peer(node: dict[str, Any], addresses: Sequence[Address]) -> Peer:
    """A peer from its Node object.

    Args:
        node: Of the API; has a podCIDR of each family.
        addresses: InternalIPs.
    """
    shares = map(ip_network, node["spec"].get("podCIDRs") or [node["spec"]["podCIDR"]])
    return Peer(
        node["metadata"]["name"],
        {family_of(address): address for address in addresses},
        {family_of(share): share for share in shares},
    )


def cni_conf(variant: Variant, pod_cidrs: Sequence[Range], mtu: int) -> dict[str, Any]:
    """The CNI configuration list of one node.

    Args:
        variant: Gives the configuration's version.
        pod_cidrs: The node's share of the pod network in each family; a pod gets an address of each.
        mtu: Of pods' links, bytes.
    """
    return {
        "cniVersion": variant.expect.conf_version,
        "name": "cnilab",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isDefaultGateway": True,
                "hairpinMode": True,
                "ipMasq": False,  # it would exempt only the node's own /24: see the fault ipmasq-true
                "mtu": mtu,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": str(share)}] for share in pod_cidrs]},
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def node_commands(spec: LabSpec, variant: Variant, own: Peer, peers: Mapping[str, Peer]) -> list[Command]:
    """What makes one node's part of the network, in order.

    Args:
        spec: The lab.
        variant: The variant.
        own: The node itself.
        peers: All nodes by name, the node itself among them.
    """
    routes = [
        f"route replace {share} via {peer.addresses[family]} dev {spec.cluster_nic}"
        for name, peer in sorted(peers.items())
        if name != own.name
        for family, share in peer.pod_cidrs.items()
    ]
    conf = json.dumps(cni_conf(variant, list(own.pod_cidrs.values()), spec.underlay.mtu), indent=2) + "\n"
    return [
        Command(("ip", "-batch", "-"), "\n".join(routes) + "\n"),
        *(
            Command((_RESTORE[family], "--noflush"), _masquerade(share, spec.pods.range(family)))
            for family, share in own.pod_cidrs.items()
        ),
        Command(("mkdir", "-p", CONF_DIR)),
        # The configuration comes last: with it the node is ready, and pods start.
        Command(("tee", f"{CONF_DIR}/{variant.expect.conf_file}"), conf),
    ]


_RESTORE: Mapping[Family, str] = {"ipv4": "iptables-restore", "ipv6": "ip6tables-restore"}


def _masquerade(share: Range, whole: Range) -> str:
    rule = f'-s {share} ! -d {whole} -m comment --comment "{COMMENT}" -j MASQUERADE'
    return f"*nat\n-A POSTROUTING {rule}\nCOMMIT\n"
