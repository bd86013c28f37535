"""What a network's agents wrote on nodes and into the API agrees with what nodes are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from conformance.context import Context
from conformance.dumps import INET, addresses, by_name, reason, rows, unread
from conformance.inventory import NodeFact
from conformance.legs import broken, census, check_value, failed, names, passed
from conformance.maths import first_host
from conformance.model import Check, Verdict
from harness.model.records import Leg
from harness.model.variant import AgentNotes


def agent_files(context: Context) -> Verdict:
    """The agent's file has the node's share and MTU; annotations have its InternalIP and its tunnel's MAC address."""
    legs: list[Leg] = []
    noted = context.api("node-objects")
    notes = context.expect.agent
    if notes is None:  # the gate says that it is there; a verdict without legs is an error
        return Verdict((), (), summary="")
    examined = 0
    for node in context.inventory.nodes:
        legs += _file(context, node, notes)
        if noted is None:
            legs.append(unread(f"{node.name}:annotations", "the API server", "node-objects", noted))
            continue
        examined += node.name in noted
        legs += _annotations(context, node, notes, noted.get(node.name, {}))
    return Verdict(
        tuple(legs),
        (census(examined, len(context.inventory.nodes), "nodes' annotations"),),
        summary=f"{len(legs)} values that agents wrote are those of {len(context.inventory.nodes)} nodes",
    )


def _file(context: Context, node: NodeFact, notes: AgentNotes) -> list[Leg]:
    """The agent's file, and the bridge that plugins made by it."""
    read = context.attempt("node", node.name, "conf")
    leg = f"{node.name}:file"
    if not isinstance(read, Mapping) or reason(read):
        return [unread(leg, node.name, "conf", read)]
    if notes.file not in read:
        return [failed(leg, "missing", f"{node.name} has no {notes.file}: no pod can start there", notes.file, "none")]
    told = dict(line.split("=", 1) for line in read[notes.file].splitlines() if "=" in line)
    share = f"{first_host(node.pod_cidr)}/{node.pod_cidr.rpartition('/')[2]}" if node.pod_cidr else "none"
    wanted = [
        ("network", notes.network, context.pod_range, "the cluster CIDR"),
        ("share", notes.share, share, f"the first address of its podCIDR {node.pod_cidr or '(none)'}"),
    ]
    if notes.mtu:
        wanted.append(("mtu", notes.mtu, str(context.effective(node.name)), "the MTU that its tunnel leaves to pods"))
    legs = []
    for name, key, value, what in wanted:
        found = told.get(key, "none")
        text = f"{notes.file} of {node.name} has {key}={found}, but {what} is {value}: new pods get the former"
        legs.append(check_value(f"{node.name}:{name}", value, found, text))
    return [*legs, *_bridge(context, node, notes, told.get(notes.share, ""))]


def _bridge(context: Context, node: NodeFact, notes: AgentNotes, told: str) -> list[Leg]:
    """The address that pods of the node have as their gateway; a node without pods has no bridge."""
    bridge, read = context.expect.bridge, context.attempt("node", node.name, "addr")
    if not bridge or not context.inventory.on(node.name):
        return []
    leg = f"{node.name}:{bridge}"
    if not rows(read):
        return [unread(leg, node.name, "addr", read)]
    held = addresses(by_name(read).get(bridge), family=INET[context.family])
    wanted = told.partition("/")[0]
    text = f"{bridge} of {node.name} has {names(held)}, but {notes.file} says {told or 'nothing'}"
    return [passed(leg, wanted, held) if wanted in held else failed(leg, "wrong-value", text, wanted, held, "ip")]


def _annotations(context: Context, node: NodeFact, notes: AgentNotes, noted: Mapping[str, str]) -> list[Leg]:
    """Where other nodes send packets for this node's pods, and to which tunnel end."""
    told = noted.get(notes.address, "none")
    # Who overwrites it means it: a node behind a translation of addresses is reached by another one than its own.
    wanted = noted.get(notes.overwrite, node.address)
    legs = [check_value(f"{node.name}:address", wanted, told, _astray(context, node, told, wanted))]
    device = context.expect.overlay_device
    if not device:
        return legs
    leg, read = f"{node.name}:tunnel", context.attempt("node", node.name, "addr")
    if not rows(read):
        return [*legs, unread(leg, node.name, "addr", read)]
    text = noted.get(notes.tunnel, "{}")
    try:
        data: Any = json.loads(text) or {}
    except ValueError:
        return [*legs, broken(leg, f"annotation {notes.tunnel} of {node.name} is no JSON: {text[:80]}", "unread")]
    mac, own = str(data.get(notes.mac, "none")), str(by_name(read).get(device, {}).get("address", "none"))
    text = f"other nodes send packets for {node.name}'s pods to MAC {mac}, but {device} of {node.name} has {own}"
    return [*legs, check_value(leg, own.lower(), mac.lower(), text)]


def _astray(context: Context, node: NodeFact, told: str, wanted: str) -> str:
    """Who already does what the annotation says, by its forwarding entries or its routes."""
    users = [other.name for other in context.inventory.nodes if other is not node and _uses(context, other, told)]
    if users:
        does = f"{names(users)} {'sends' if len(users) == 1 else 'send'} packets for {node.name}'s pods to {told}"
    else:
        does = f"by its annotation {node.name} wants packets for its pods at {told}"
    return f"{does}, but {node.name} is {wanted}: its annotation is not its InternalIP"


def _uses(context: Context, node: NodeFact, address: str) -> bool:
    forwarding = [
        row.get("dst")
        for row in rows(context.attempt("node", node.name, "fdb"))
        if row.get("ifname") == context.expect.overlay_device
    ]
    gateways = [row.get("gateway") for row in rows(context.attempt("node", node.name, "route"))]
    return address in (*forwarding, *(gateways if context.expect.remote_route == "via-node" else ()))


CHECKS: tuple[Check, ...] = (
    Check(
        "node.agent-files", "what agents wrote of nodes agrees with the API and the kernel", "S", "B0", agent_files,
        gates=("agentfile", "node", "known", "ranges", "ncidr"),
        causes=("the agent chose a NIC that is not the cluster's", "a file or an annotation of an earlier node"),
        next=("kubectl get node -o yaml", "the agent's log"),
    ),
)  # fmt: skip
