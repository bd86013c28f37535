"""The tunnel of an overlay: which entries of a node lead to which other one (vxlan.rst of the kernel). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.netfilter import Flow
from conformance.path.hop import BlindError, stop
from conformance.path.places import Place, World


def carried(there: World, node: Place, device: str, nexthop: str, flow: Flow) -> tuple[Place, Flow]:
    """The node at the other end, and the packet that carries another one to it.

    Args:
        there: All places.
        node: The sender.
        device: Its tunnel device.
        nexthop: Gateway in the tunnel.
        flow: What is carried.

    Raises:
        StoppedError: No entry leads there, or one leads elsewhere.
    """
    wire = there.context.expect.wire
    peer = _peer(there, node, flow)
    if node.kind_of(device) != "vxlan" or not wire.port or peer is None:
        msg = f"what {device} of {node.name} does cannot be evaluated"
        raise BlindError(msg)
    mac = _neighbour(node, device, nexthop, peer)
    to = _entry(node, device, mac, peer, there.context.inventory.node(peer.name).address)
    mine, theirs = (_data(place, device) for place in (node, peer))
    for key, word in (("id", "VNI"), ("port", "UDP port")):
        if key in mine and key in theirs and mine[key] != theirs[key]:
            facts = {"word": word, "mine": mine[key], "theirs": theirs[key], "peer": peer.name, "device": device}
            stop("tunnel.differs", node.name, f"link/{device}", **facts)
    local = str(mine.get("local") or mine.get("local6") or node.source(there.nic(node)))
    return peer, Flow(local, to, proto="udp", dport=wire.port, length=flow.length + there.context.expect.overhead)


def _peer(there: World, node: Place, flow: Flow) -> Place | None:
    """The node that the packet is to be carried to."""
    owner = there.holder(flow.dst)
    if owner is not None and owner.node and owner.node != node.name:
        return there.places[owner.node]
    sharing = there.sharing(flow.dst)
    return there.places[sharing.name] if sharing is not None and sharing.name != node.name else None


def _data(place: Place, device: str) -> Mapping[str, Any]:
    return (place.links.get(device, {}).get("linkinfo") or {}).get("info_data") or {}


def _neighbour(node: Place, device: str, nexthop: str, peer: Place) -> str:
    """The MAC that frames for a gateway in the tunnel have."""
    entry, right = node.neighbour(nexthop, device), peer.mac(device)
    mac = str(entry.get("lladdr") or "") if entry is not None else ""
    facts = {"address": nexthop, "device": device, "peer": peer.name, "mac": mac, "right": right}
    if not mac:
        stop("tunnel.neighbour.missing", node.name, f"neigh/{nexthop}", **facts)
    if right and mac != right:
        stop("tunnel.neighbour.wrong", node.name, f"neigh/{nexthop}", **facts)
    return mac


def _entry(node: Place, device: str, mac: str, peer: Place, vtep: str) -> str:
    """The address to which frames with a MAC are carried."""
    to = [str(row["dst"]) for row in node.fdb if (row.get("ifname"), row.get("mac")) == (device, mac) and "dst" in row]
    right = sorted(peer.addresses)
    facts = {"mac": mac, "device": device, "peer": peer.name, "to": ", ".join(to), "vtep": vtep}
    if not to:
        stop("tunnel.fdb.missing", node.name, f"fdb/{mac}", **facts)
    found = next((one for one in to if one in right), "")
    if not found:
        stop("tunnel.fdb.wrong", node.name, f"fdb/{mac}", **facts)
    return found
