"""The baseline that explains what flannel automates: the bridge plugin, static routes, one masquerade rule.

No agent runs. What flanneld learns from the API and writes into the kernel, the harness writes once: a CNI
configuration with the node's own podCIDR, a route to every other node's podCIDR via that node's address, and a rule
that masquerades what leaves the pod network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from harness.cni.command import Command
from harness.cni.footprint import LEASES, PLUGIN_CHAINS, Footprint
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
        address: InternalIP.
        pod_cidr: `spec.podCIDR`.
    """

    name: str
    address: IPv4Address
    pod_cidr: IPv4Network


def peer(node: dict[str, Any], address: IPv4Address) -> Peer:
    """A peer from its Node object.

    Args:
        node: Of the API; has a podCIDR.
        address: InternalIP.
    """
    return Peer(node["metadata"]["name"], address, IPv4Network(node["spec"]["podCIDR"]))


def cni_conf(variant: Variant, pod_cidr: IPv4Network, mtu: int) -> dict[str, Any]:
    """The CNI configuration list of one node.

    Args:
        variant: Gives the configuration's version.
        pod_cidr: The node's share of the pod network.
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
                "ipam": {"type": "host-local", "ranges": [[{"subnet": str(pod_cidr)}]]},
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
        f"route replace {peer.pod_cidr} via {peer.address} dev {spec.cluster_nic}"
        for name, peer in sorted(peers.items())
        if name != own.name
    ]
    rule = ("-s", str(own.pod_cidr), "!", "-d", str(spec.pods.cidr), "-m", "comment", "--comment", COMMENT)
    conf = json.dumps(cni_conf(variant, own.pod_cidr, spec.underlay.mtu), indent=2) + "\n"
    return [
        Command(("ip", "-batch", "-"), "\n".join(routes) + "\n"),
        Command(("iptables-restore", "--noflush"), _masquerade(rule)),
        Command(("mkdir", "-p", CONF_DIR)),
        # The configuration comes last: with it the node is ready, and pods start.
        Command(("tee", f"{CONF_DIR}/{variant.expect.conf_file}"), conf),
    ]


def _masquerade(rule: tuple[str, ...]) -> str:
    words = " ".join(f'"{word}"' if " " in word else word for word in rule)
    return f"*nat\n-A POSTROUTING {words} -j MASQUERADE\nCOMMIT\n"
