"""The packets of the model, as each node sees them: what comes, what leaves, and past which hooks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from conformance.context import Context
from conformance.dumps import INET, addresses, by_name
from conformance.flows import outside
from conformance.hooks import Station, arriving, bridged, leaving
from conformance.inventory import NodeFact, Site
from conformance.maths import split_endpoint
from conformance.netfilter import SMALL, Flow
from conformance.plan import API, TRANSPORTS
from conformance.tables import ports
from harness.model.family import family_of_dial

MOST = 6
"""Pods of other nodes that rules are asked about: one rule for each of many would not be worth more."""


@dataclass(frozen=True)
class Way:
    """A kind of packet on its way through a node.

    Args:
        name: `a to c, leaving`.
        flow: The packet.
        stations: Hooks, in order.
        largest: Bytes of the largest packet of this kind; 0: it is small.
        ports: Further ports that it may be for.
        masked: A translation of the sender is as it should be, or is judged by another check.
        to: Addresses to which it may be led; none: to no other than its own.
        asked: Purpose, source and target of exchanges that took this way.
    """

    name: str
    flow: Flow
    stations: tuple[Station, ...]
    largest: int = 0
    ports: tuple[int, ...] = ()
    masked: bool = False
    to: tuple[str, ...] = ()
    asked: tuple[str, str, str] = ("", "", "")

    @property
    def packets(self) -> Iterator[Flow]:
        """Small and large ones, and those for other ports."""
        yield self.flow
        if self.largest > SMALL:
            yield replace(self.flow, length=self.largest)
        yield from (replace(self.flow, dport=port) for port in self.ports if port != self.flow.dport)

    @property
    def devices(self) -> frozenset[str]:
        """Devices that it passes."""
        return frozenset(name for one in self.stations for name in (one.iif, one.oif, one.device) if name)


def ways(context: Context, node: NodeFact) -> Iterator[Way]:
    """All kinds of packets of the model that pass a node.

    Args:
        context: The run, for one family.
        node: Which.
    """
    own = [site for site in context.inventory.on(node.name) if site.ip]
    others = [site for site in context.inventory.pods if site.node != node.name and site.ip]
    for number, other in enumerate(others[:MOST] if own else ()):
        yield from _between_nodes(context, own[0], other, first=number == 0)
    if len(own) > 1:
        yield from _on_one_node(context, node, own[0], own[1])
    if own and context.gates.get("masq"):
        yield from _outwards(context, node, own[0])
    yield from _of_the_node(context, node, own[:1])
    if own and context.gates.get("kp"):
        yield from _to_services(context, own[0])


def _inner(context: Context, site: Site) -> tuple[str, str]:
    """The device by which a node has a pod's packets, and the port of it where it is a bridge."""
    bridge = context.expect.bridge or ""
    return (bridge, site.host_veth) if bridge else (site.host_veth, "")


def _away(context: Context) -> str:
    return context.expect.overlay_device or context.spec.cluster_nic


def _between_nodes(context: Context, own: Site, other: Site, *, first: bool) -> Iterator[Way]:
    inner, port = _inner(context, own)
    away = _away(context)
    largest = min(context.effective(own.node), context.effective(other.node))
    out = (*arriving(inner, port), Station("ip", "forward", inner, away), *leaving(away))
    back = (*arriving(away), Station("ip", "forward", away, inner), *leaving(inner, port))
    for proto in (*TRANSPORTS, "icmp") if first else TRANSPORTS:
        more = {"largest": largest, "ports": ports() if proto != "icmp" else ()} if first else {}
        for name, src, dst, stations in (
            (f"{own.name} to {other.name}, leaving", own, other, out),
            (f"{other.name} to {own.name}, arriving", other, own, back),
        ):
            flow = Flow(src.ip, dst.ip, proto=proto)
            yield Way(name, flow, stations, asked=("mesh", src.name, dst.name), **more)  # type: ignore[arg-type]


def _on_one_node(context: Context, node: NodeFact, one: Site, other: Site) -> Iterator[Way]:
    values = context.attempt("node", node.name, "sysctl")
    key = f"net.bridge.bridge-nf-call-{'ip6tables' if context.family == 'ipv6' else 'iptables'}"
    seen = str((values or {}).get(key)) == "1"
    bridge = context.expect.bridge or ""
    for src, dst in ((one, other), (other, one)):
        if bridge:
            stations = bridged(src.host_veth, dst.host_veth, bridge, seen=seen)
        else:
            forward = Station("ip", "forward", src.host_veth, dst.host_veth)
            stations = (*arriving(src.host_veth), forward, *leaving(dst.host_veth))
        for proto in TRANSPORTS:
            flow, asked = Flow(src.ip, dst.ip, proto=proto), ("mesh", src.name, dst.name)
            yield Way(f"{src.name} to {dst.name}", flow, stations, context.effective(node.name), asked=asked)


def _outwards(context: Context, node: NodeFact, own: Site) -> Iterator[Way]:
    inner, port = _inner(context, own)
    nic = context.spec.cluster_nic
    stations = (*arriving(inner, port), Station("ip", "forward", inner, nic), *leaving(nic))
    for proto in (*TRANSPORTS, "icmp"):
        flow = Flow(own.ip, outside(context.family)[0], proto=proto)
        yield Way(f"{own.name} to the outside", flow, stations, context.effective(node.name), masked=True)


def _of_the_node(context: Context, node: NodeFact, own: list[Site]) -> Iterator[Way]:
    """Packets to the node and of the node itself; which source the far end sees is for other checks."""
    host = context.inventory.host(node.name)
    for site in own if node.address else ():
        inner, port = _inner(context, site)
        links = by_name(context.attempt("node", node.name, "addr"))
        source = next(iter(addresses(links.get(inner), family=INET[context.family])), node.address)
        inwards = (*arriving(inner, port), Station("ip", "input", inner))
        outwards = (Station("ip", "output", "", inner), *leaving(inner, port))
        name = host.name if host is not None else ""
        for proto in TRANSPORTS:
            to_pod, to_node = Flow(source, site.ip, proto=proto), Flow(site.ip, node.address, proto=proto)
            asked = ("host", name, site.name), ("host", site.name, name)
            yield Way(f"{node.name} to {site.name}", to_pod, outwards, masked=True, asked=asked[0])
            if host is not None:
                flow = replace(to_node, to_local=True)
                yield Way(f"{site.name} to {node.name}", flow, inwards, masked=True, asked=asked[1])
    for other in context.inventory.nodes:
        if other.name != node.name and node.address and other.address:
            yield from _of_two_nodes(context, node, other)


def _of_two_nodes(context: Context, node: NodeFact, other: NodeFact) -> Iterator[Way]:
    nic = context.spec.cluster_nic
    inwards = (*arriving(nic), Station("ip", "input", nic))
    outwards = (Station("ip", "output", "", nic), *leaving(nic))
    largest = min(node.mtu, other.mtu)
    for title, proto, port in _between_hosts(context, node, other):
        come = Flow(other.address, node.address, proto=proto, dport=port, to_local=True)
        go = Flow(node.address, other.address, proto=proto, dport=port)
        yield Way(f"{title}{other.name} to {node.name}, arriving", come, inwards, largest)
        yield Way(f"{title}{node.name} to {other.name}, leaving", go, outwards, largest)


def _between_hosts(context: Context, node: NodeFact, other: NodeFact) -> Iterator[tuple[str, str, int]]:
    """What nodes send to one another: their tunnels, and what host-network pods say."""
    wire = context.expect.wire
    if context.gates.get("ovl") and wire.port:
        yield "tunnel of ", "udp", wire.port
    if context.inventory.host(node.name) is not None and context.inventory.host(other.name) is not None:
        yield from (("", proto, 8080) for proto in TRANSPORTS)


_MOVED = frozenset({"itp-local", "moving"})
"""Services whose endpoints depend on who asks, or change meanwhile."""


def _to_services(context: Context, own: Site) -> Iterator[Way]:
    """A pod's packets for Services, until they are led to an endpoint."""
    inner, port = _inner(context, own)
    stations = arriving(inner, port)
    for service in context.inventory.services:
        if service.cluster_ip in {"", "None"} or not service.endpoints or service.role in _MOVED:
            continue
        for one in service.ports:
            flow = Flow(own.ip, service.cluster_ip, proto=one.proto, dport=one.port)
            asked = ("vip", own.name, service.name)
            yield Way(f"Service {service.name}", flow, stations, to=service.endpoint_ips, asked=asked)
    api = context.inventory.api
    if api is not None and api.endpoints and family_of_dial(api.cluster_ip) == context.family:
        to = tuple(split_endpoint(text)[0] for text in api.endpoints)
        flow = Flow(own.ip, api.cluster_ip, dport=api.port)
        yield Way(f"Service {API}", flow, stations, to=to, asked=("api", own.name, API))
