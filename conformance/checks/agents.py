"""What a network's agents wrote on nodes and into the API agrees with what nodes are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from conformance.context import Context
from conformance.dumps import INET, addresses, by_name, reason, rows, unread
from conformance.inventory import NodeFact
from conformance.legs import broken, census, check_value, failed, names, passed
from conformance.maths import first_host
from conformance.model import Check, Verdict
from harness.model.family import Family
from harness.model.records import Leg

SUBNET_FILE: Final = "/run/flannel/subnet.env"
"""What the CNI plugin reads for every new pod."""

PREFIX: Final = "flannel.alpha.coreos.com/"

_KEYS: Final[Mapping[Family, tuple[str, str]]] = {
    "ipv4": ("FLANNEL_NETWORK", "FLANNEL_SUBNET"),
    "ipv6": ("FLANNEL_IPV6_NETWORK", "FLANNEL_IPV6_SUBNET"),
}
_PUBLIC: Final[Mapping[Family, str]] = {"ipv4": "public-ip", "ipv6": "public-ipv6"}
_BACKEND: Final[Mapping[Family, str]] = {"ipv4": "backend-data", "ipv6": "backend-v6-data"}


def agent_files(context: Context) -> Verdict:
    """The subnet file has the node's share and MTU; annotations have its InternalIP and its tunnel's MAC address."""
    legs: list[Leg] = []
    noted = context.api("node-objects")
    examined = 0
    for node in context.inventory.nodes:
        legs += _file(context, node)
        if noted is None:
            legs.append(unread(f"{node.name}:annotations", "the API server", "node-objects", noted))
            continue
        examined += node.name in noted
        legs += _annotations(context, node, noted.get(node.name, {}))
    return Verdict(
        tuple(legs),
        (census(examined, len(context.inventory.nodes), "nodes' annotations"),),
        summary=f"{len(legs)} values that agents wrote are those of {len(context.inventory.nodes)} nodes",
    )


def _file(context: Context, node: NodeFact) -> list[Leg]:
    """The subnet file, and the bridge that plugins made by it."""
    read = context.attempt("node", node.name, "conf")
    leg = f"{node.name}:{SUBNET_FILE}"
    if not isinstance(read, Mapping) or reason(read):
        return [unread(leg, node.name, "conf", read)]
    if SUBNET_FILE not in read:
        text = f"{node.name} has no {SUBNET_FILE}: no pod can start there"
        return [failed(leg, "missing", text, SUBNET_FILE, "none")]
    told = dict(line.split("=", 1) for line in read[SUBNET_FILE].splitlines() if "=" in line)
    whole, share = _KEYS[context.family]
    length = node.pod_cidr.rpartition("/")[2]
    wanted = {whole: context.pod_range, share: f"{first_host(node.pod_cidr)}/{length}" if node.pod_cidr else "none"}
    if context.family == "ipv4":
        # flannel gives a tunnel over IPv6 the same MTU, which is declared as a deviation of mtu.agree.
        wanted["FLANNEL_MTU"] = str(context.effective(node.name))
    legs = []
    for key, value in wanted.items():
        found = told.get(key, "none")
        text = (
            f"{SUBNET_FILE} of {node.name} has {key}={found}, but {_why(node, key)} is {value}: new pods get the former"
        )
        legs.append(check_value(f"{node.name}:{key.rpartition('_')[2].lower()}", value, found, text))
    return [*legs, *_bridge(context, node, told.get(share, ""))]


def _why(node: NodeFact, key: str) -> str:
    if key == "FLANNEL_MTU":
        return "the MTU of its pods"
    return "the cluster CIDR" if key.endswith("NETWORK") else f"the first address of its podCIDR {node.pod_cidr}"


def _bridge(context: Context, node: NodeFact, told: str) -> list[Leg]:
    """The address that pods of the node have as their gateway; a node without pods has no bridge."""
    bridge, read = context.expect.bridge, context.attempt("node", node.name, "addr")
    if not bridge or not context.inventory.on(node.name):
        return []
    leg = f"{node.name}:{bridge}"
    if not rows(read):
        return [unread(leg, node.name, "addr", read)]
    held = addresses(by_name(read).get(bridge), family=INET[context.family])
    wanted = told.partition("/")[0]
    text = f"{bridge} of {node.name} has {names(held)}, but {SUBNET_FILE} says {told or 'nothing'}"
    return [passed(leg, wanted, held) if wanted in held else failed(leg, "wrong-value", text, wanted, held, "ip")]


def _annotations(context: Context, node: NodeFact, noted: Mapping[str, str]) -> list[Leg]:
    """Where other nodes send packets for this node's pods, and to which tunnel end."""
    told = noted.get(PREFIX + _PUBLIC[context.family], "none")
    # Who overwrites it means it: a node behind a translation of addresses is reached by another one than its own.
    wanted = noted.get(f"{PREFIX}{_PUBLIC[context.family]}-overwrite", node.address)
    legs = [check_value(f"{node.name}:{_PUBLIC[context.family]}", wanted, told, _astray(context, node, told, wanted))]
    device = context.expect.overlay_device
    if not device:
        return legs
    read = context.attempt("node", node.name, "addr")
    leg = f"{node.name}:{_BACKEND[context.family]}"
    if not rows(read):
        return [*legs, unread(leg, node.name, "addr", read)]
    text = noted.get(PREFIX + _BACKEND[context.family], "{}")
    try:
        data: Any = json.loads(text) or {}
    except ValueError:
        return [
            *legs,
            broken(leg, f"annotation {_BACKEND[context.family]} of {node.name} is no JSON: {text[:80]}", "unread"),
        ]
    mac, own = str(data.get("VtepMAC", "none")), str(by_name(read).get(device, {}).get("address", "none"))
    text = f"other nodes send packets for {node.name}'s pods to MAC {mac}, but {device} of {node.name} has {own}"
    return [*legs, check_value(leg, own.lower(), mac.lower(), text)]


def _astray(context: Context, node: NodeFact, told: str, wanted: str) -> str:
    """Who already does what the annotation says, by its forwarding entries."""
    device = context.expect.overlay_device
    users = [
        other.name
        for other in context.inventory.nodes
        if other is not node
        and any(
            row.get("dst") == told and row.get("ifname") == device
            for row in rows(context.attempt("node", other.name, "fdb"))
        )
    ]
    if users:
        does = f"{names(users)} {'sends' if len(users) == 1 else 'send'} packets for {node.name}'s pods to {told}"
    else:
        does = (
            f"annotation {_PUBLIC[context.family]} of {node.name} tells others to send packets for its pods to {told}"
        )
    return f"{does}, but {node.name} is {wanted}: its annotation is not its InternalIP"


CHECKS: tuple[Check, ...] = (
    Check(
        "node.agent-files", "what agents wrote of nodes agrees with the API and the kernel", "S", "B0", agent_files,
        gates=("agentfile", "node", "known", "ranges", "ncidr"),
        causes=("the agent chose a NIC that is not the cluster's", "a file or an annotation of an earlier node"),
        next=("cat /run/flannel/subnet.env", "kubectl get node {node} -o yaml"),
    ),
)  # fmt: skip
