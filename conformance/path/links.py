"""From link to link: veth pairs, bridges, and the wire between machines. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn

from conformance.dumps import conf_key
from conformance.hooks import Station, arriving, bridged
from conformance.netfilter import Flow
from conformance.path.hop import BlindError, StoppedError, Trail, Trouble, stop
from conformance.path.places import POD_NIC, Place, World
from conformance.path.rules import meet


@dataclass(frozen=True)
class Arrival:
    """Where a packet comes in.

    Args:
        place: Where.
        device: By which link.
        port: Of the bridge that the link is; empty: it is none.
        flow: The packet.
    """

    place: Place
    device: str
    port: str
    flow: Flow


LEAST: Final = 1280
"""Bytes that every link of IPv6 carries (RFC 8200, section 5)."""

NEVER: Final = 8
"""The value of arp_ignore with which a kernel answers for none of its addresses."""

_FIXED: Final = frozenset({"PERMANENT", "NOARP"})


def up(place: Place, device: str) -> None:
    """Raises StoppedError unless a link is there and up."""
    if place.links and device not in place.links:
        stop("link.missing", place.name, f"link/{device}", device=device)
    if not place.is_up(device):
        stop("link.down", place.name, f"link/{device}", device=device)


def has(place: Place, address: str) -> None:
    """Raises StoppedError where a pod has not got an address that it should have."""
    if not place.links or not address or address in place.addresses:
        return
    mtu = place.mtu(POD_NIC)
    if place.family == "ipv6" and 0 < mtu < LEAST:
        stop("mtu.minimum", place.name, f"link/{POD_NIC}", device=POD_NIC, mtu=mtu)
    key = "net.ipv6.conf.eth0.disable_ipv6"
    if place.family == "ipv6" and place.setting(key) == "1":
        stop("family.off", place.name, f"sysctl/{key}", key=key, address=address)
    stop("address.lost", place.name, f"addr/{address}", address=address)


def known(place: Place, device: str, *others: str) -> None:
    """Raises BlindError where programs decide."""
    at = sorted({device, *others} & place.deciders)
    if at:
        msg = f"programs at {', '.join(at)} of {place.name} decide"
        raise BlindError(msg)


def fits(place: Place, device: str, flow: Flow) -> None:
    """Raises StoppedError for a packet that is larger than a link."""
    mtu = place.mtu(device) if place.kind in {"pod", "node"} else 0
    if mtu and flow.length > mtu:
        facts = {"device": device, "mtu": str(mtu), "length": str(flow.length), "flow": str(flow)}
        # Smaller packets pass, and so do those of a sender that has heard of it.
        raise StoppedError(Trouble("mtu.small", place.name, f"link/{device}", facts, deviates=True))


def resolved(place: Place, device: str, address: str, mac: str) -> None:
    """Raises StoppedError where an entry that nobody renews leads to another MAC."""
    entry = place.neighbour(address, device)
    if entry is None or not mac:
        return
    found = str(entry.get("lladdr") or "")
    if found and found != mac and _FIXED & set(entry.get("state") or ()):
        thing = f"neigh/{address}"
        stop("neighbour.wrong", place.name, thing, address=address, device=device, mac=found, right=mac)


def from_pod(there: World, trail: Trail, pod: Place, nexthop: str, flow: Flow) -> Arrival:
    """A packet of a pod on its node's end of the link.

    Args:
        there: All places.
        trail: Gets steps.
        pod: The sender.
        nexthop: Gateway, or the receiver.
        flow: The packet.
    """
    node, veth = there.places[pod.node], pod.host_veth
    if there.foreign and not veth:
        msg = f"how {pod.name} is linked to {node.name} is not known: its {POD_NIC} has no end there"
        raise BlindError(msg)
    up(node, veth)
    known(node, veth)
    bridge = _bridge_of(there, node, veth)
    if not bridge:
        resolved(pod, POD_NIC, nexthop, node.mac(veth))
        trail.step(node.name, veth, f"comes from {pod.name}", flow)
        return Arrival(node, veth, "", flow)
    if node.addresses.get(nexthop) == bridge:
        resolved(pod, POD_NIC, nexthop, node.mac(bridge))
        _heard(there, trail, (pod, POD_NIC), (node, bridge), nexthop)
        trail.step(node.name, veth, f"comes from {pod.name}, into {bridge}", flow)
        return Arrival(node, bridge, veth, flow)
    other = _on_bridge(there, node, bridge, nexthop)
    if other is None:
        _nobody(there, pod, POD_NIC, nexthop)
    _behind(node, other, bridge)
    _unmistaken(trail, pod, POD_NIC, nexthop, other)
    _heard(there, trail, (pod, POD_NIC), (other, POD_NIC), nexthop)
    return _across(there, trail, node, (veth, other.host_veth), bridge, flow)


def _bridge_of(there: World, node: Place, veth: str) -> str:
    """The bridge that a pod's link is a port of; raises StoppedError where it is not the variant's."""
    bridge = node.master(veth)
    wanted = there.context.expect.bridge or ""
    if wanted and bridge != wanted and node.links:
        stop("port.detached", node.name, f"port/{veth}", port=veth, bridge=wanted)
    if bridge:
        up(node, bridge)
    state = str(node.ports.get(veth, {}).get("state") or "forwarding")
    pod = there.behind(node.name, veth) if state == "disabled" else None
    if pod is not None:
        up(pod, POD_NIC)
    if bridge and state != "forwarding":
        stop("port.blocked", node.name, f"port/{veth}", port=veth, bridge=bridge, state=state)
    return bridge


def _behind(node: Place, pod: Place, bridge: str) -> None:
    """Raises StoppedError where a bridge has a pod's MAC behind the port of another, by an entry that stays."""
    mac = pod.mac(POD_NIC)
    entries = [row for row in node.fdb if mac and row.get("mac") == mac and row.get("master") == bridge]
    for row in entries:
        stays = row.get("state") in {"static", "permanent"} or "sticky" in (row.get("flags") or ())
        if stays and row.get("ifname") != pod.host_veth:
            stop("port.mistaken", node.name, f"fdb/{mac}", mac=mac, pod=pod.name, bridge=bridge,
                 other=row.get("ifname"), port=pod.host_veth)  # fmt: skip


def _on_bridge(there: World, node: Place, bridge: str, address: str) -> Place | None:
    """The pod of a bridge that has an address; where its link is no port, the one that should be."""
    held = [pod for pod in there.on(node.name) if address in pod.addresses or (not pod.links and address in pod.held)]
    ports = [pod for pod in held if node.master(pod.host_veth) == bridge]
    return next(iter(ports or held), None)


def _lost(there: World, place: Place, address: str) -> None:
    """Raise StoppedError where a node, or a pod of the suite, should have an address, and has not."""
    inventory = there.context.inventory
    for node in inventory.nodes:
        if address == node.address and node.name != place.name:
            up(there.places[node.name], there.nic(there.places[node.name]))
            stop("address.lost", node.name, f"addr/{address}", address=address)
    for site in inventory.pods:
        if address == site.ip and site.name in there.places and site.name != place.name:
            has(there.places[site.name], address)


def _nobody(there: World, place: Place, device: str, nexthop: str) -> NoReturn:
    """Raise StoppedError: nobody answers when a place asks for a neighbour; BlindError where a stranger might."""
    _lost(there, place, nexthop)
    bridge = there.places[place.node].master(place.host_veth) if place.kind == "pod" else device
    if there.foreign and bridge != there.context.expect.bridge:
        _stranger(place, device, nexthop)
    gateway = place.kind == "pod"
    kind = "gateway.nobody" if gateway else "neighbour.nobody"
    where = place.node if gateway else place.name
    stop(kind, where, f"addr/{nexthop}", address=nexthop, device=device, asker=place.name)


def _stranger(place: Place, device: str, nexthop: str) -> NoReturn:
    """Raise BlindError: the packet goes to somebody of whom nothing was read."""
    msg = f"{place.name} sends it by {device} to {nexthop}, of which nothing was read"
    raise BlindError(msg)


TUNNELS: Final = frozenset({"geneve", "gre", "gretap", "ip6gre", "ip6tnl", "ipip", "sit", "tun", "vxlan", "wireguard",
                            "xfrm"})  # fmt: skip
"""Kinds of links that put packets into others."""


def carries(there: World, place: Place, device: str) -> None:
    """Raises BlindError for a tunnel that is not the network's own, of a cluster that is not ours."""
    shape = place.kind_of(device)
    if there.foreign and shape in TUNNELS and device != there.context.expect.overlay_device:
        msg = f"what {device} of {place.name} ({shape}) does cannot be evaluated"
        raise BlindError(msg)


def _unmistaken(trail: Trail, place: Place, device: str, address: str, owner: Place) -> None:
    """Note that a neighbour's entry has another pod's MAC; raise StoppedError where nobody renews it."""
    mac = owner.mac(POD_NIC)
    resolved(place, device, address, mac)
    entry = place.neighbour(address, device)
    found = str(entry.get("lladdr") or "") if entry is not None else ""
    if entry is not None and {"FAILED", "INCOMPLETE"} & set(entry.get("state") or ()):
        facts = {"address": address, "device": device, "owner": owner.name}
        trail.wrong(Trouble("neighbour.silent", place.name, f"neigh/{address}", facts, certain=False))
    elif found and mac and found != mac:
        facts = {"address": address, "device": device, "owner": owner.name, "mac": found}
        trail.wrong(Trouble("neighbour.other", place.name, f"neigh/{address}", facts, certain=False))


def _across(there: World, trail: Trail, node: Place, ports: tuple[str, str], bridge: str, flow: Flow) -> Arrival:
    """From port to port of a bridge, past the hooks that see it."""
    one, other = ports
    known(node, one, other, bridge)
    _bridge_of(there, node, other)
    up(node, other)
    first, second = (node.ports.get(port, {}) for port in ports)
    if first.get("isolated") and second.get("isolated"):
        low, high = sorted(ports)
        stop("port.isolated", node.name, f"port/{low}", port=low, other=high, bridge=bridge)
    six = "ip6tables" if node.family == "ipv6" else "iptables"
    seen = node.setting(f"net.bridge.bridge-nf-call-{six}") == "1"
    flow = meet(there, trail, node, bridged(one, other, bridge, seen=seen), flow)
    trail.step(node.name, other, f"{bridge} hands it from {one} to {other}", flow)
    pod = there.behind(node.name, other)
    if pod is None:
        stop("link.missing", node.name, f"link/{other}", device=other)
    return Arrival(pod, POD_NIC, "", flow)


def to_bridge(there: World, trail: Trail, node: Place, bridge: str, nexthop: str, came: str) -> tuple[Place, str]:
    """The pod behind a bridge to which a node hands a packet, and the port.

    Args:
        there: All places.
        trail: Gets what is wrong.
        node: The node.
        bridge: Its bridge.
        nexthop: The receiver.
        came: Port by which the packet came; empty: by none of this bridge.
    """
    pod = _on_bridge(there, node, bridge, nexthop)
    if pod is None:
        _nobody(there, node, bridge, nexthop)
    port = pod.host_veth
    _bridge_of(there, node, port)
    _behind(node, pod, bridge)
    _unmistaken(trail, node, bridge, nexthop, pod)
    _heard(there, trail, (node, bridge), (pod, POD_NIC), nexthop)
    up(node, port)
    known(node, port)
    if came == port and node.ports.get(port, {}).get("hairpin") is False:
        stop("port.hairpin", node.name, f"port/{port}", port=port, bridge=bridge, pod=pod.name)
    return pod, port


def _heard(there: World, trail: Trail, asker: tuple[Place, str], owner: tuple[Place, str], address: str) -> None:
    """Raise StoppedError where a question for a MAC has no answer.

    In IPv6 question and answer are packets, which rules may drop (RFC 4861). In IPv4 a setting may forbid the answer.

    Args:
        there: All places.
        trail: Gets what may drop it.
        asker: Who asks, and by which link.
        owner: Who has the address, and at which link.
        address: Of the neighbour.
    """
    (place, device), (there_, nic) = asker, owner
    entry = place.neighbour(address, device)
    known_ = entry is not None and entry.get("lladdr") and not {"FAILED", "INCOMPLETE"} & set(entry.get("state") or ())
    if known_:
        return
    if place.family == "ipv4":
        _ignored(there_, nic, place, address)
        return
    source = place.source(device) or "::"
    asked = Flow(source, address, proto="icmp", icmp="nd-neighbor-solicit", to_local=True)
    told = Flow(address, source, proto="icmp", icmp="nd-neighbor-advert", to_local=True)
    for at, link, message in ((there_, nic, asked), (place, device, told)):
        if at.rules is not None:
            meet(there, trail, at, (*arriving(link), Station("ip", "input", link)), message)


def _ignored(place: Place, device: str, asker: Place, address: str) -> None:
    """Raises StoppedError where a kernel answers no question for a MAC (ip-sysctl.rst, arp_ignore)."""
    keys = {name: conf_key(name, "arp_ignore") for name in (device, "all")}
    values = {name: int(place.setting(key) or 0) for name, key in keys.items()}
    if max(values.values()) == NEVER:
        key = keys[max(values, key=lambda name: values[name])]
        stop(
            "neighbour.ignored", place.name, f"sysctl/{key}", address=address, asker=asker.name, key=key, device=device
        )


def wire(there: World, trail: Trail, place: Place, device: str, nexthop: str, flow: Flow) -> Arrival:
    """The machine at the other end of a link between machines.

    Args:
        there: All places.
        trail: Gets steps.
        place: The sender.
        device: Its link.
        nexthop: Gateway, or the receiver.
        flow: The packet.
    """
    owner = next((one for one in there.machines() if nexthop in one.addresses and one.name != place.name), None)
    if owner is None:
        _lost(there, place, nexthop)
        if there.foreign:
            _stranger(place, device, nexthop)
        stop("nexthop.nobody", place.name, f"nexthop/{nexthop}", address=nexthop, device=device, flow=flow)
    nic = owner.addresses[nexthop]
    _heard(there, trail, (place, device), (owner, nic), nexthop)
    resolved(place, device, nexthop, owner.mac(nic))
    up(owner, nic)
    trail.step(owner.name, nic, f"comes from {place.name}", flow)
    return Arrival(owner, nic, "", flow)
