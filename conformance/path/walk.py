"""Following a packet and its answer through a cluster, by what all kernels on the way said of themselves. Pure.

A walk decides as the kernels do: links, policy rules, tables, neighbours, forwarding entries, rules of netfilter,
settings. It ends where the packet certainly goes no further, where it arrives, or where something decides that cannot
be evaluated, such as a program of eBPF: then nothing is said.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import Final

from conformance.dumps import conf_key
from conformance.fib import DEFAULT, LOCAL, MAIN, Packet, Route, Rule
from conformance.hooks import Station, arriving, leaving
from conformance.netfilter import SMALL, Flow
from conformance.path import turns
from conformance.path.hop import BlindError, StoppedError, Trail, Walk, stop
from conformance.path.links import Arrival, carries, fits, from_pod, has, known, to_bridge, up, wire
from conformance.path.places import IPVS, POD_NIC, Place, World
from conformance.path.rules import meet
from conformance.path.tunnel import carried

REPLY_PORT: Final = 45000
"""A port that senders choose for themselves: replies go to such a one."""

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})

MOST: Final = 16
"""Places after which a packet goes in circles."""


def walk(there: World, source: str, flow: Flow, *, prefer: str = "", error: str = "", refused: bool = False) -> Walk:
    """Follow a packet and its answer.

    Args:
        there: All places.
        source: Who sends it: a pod, a node, the router.
        flow: The packet.
        prefer: To which endpoint a Service is to lead; empty: the first one.
        error: The router answers for who is behind it, with an ICMP message of this type; empty: it does not.
        refused: The packet is to be refused on its way.
    """
    trail = Trail(flow, prefer, error=error)
    unknown: list[str] = []
    arrived = ""
    answered = False
    try:
        place, last = _go(there, trail, there.places[source], flow)
        arrived = place.name
        trail.direction = "reply"
        end, back = _go(there, trail, place, _reply(there, trail, last))
        turns.answered(there, trail, end, back, source)
        answered = end.name == source
    except StoppedError as stopped:
        # A packet that went astray ends somewhere: where is no trouble of its own.
        if stopped.trouble.place not in there.places or not _beside(there.places[stopped.trouble.place], trail):
            trail.troubles.append(stopped.trouble)
    except BlindError as blind:
        unknown.append(str(blind))
    if refused and not unknown:
        turns.refused(there, trail, source)
    met = [there.places[step.place].unread for step in trail.steps if step.place in there.places]
    return Walk(
        tuple(trail.steps),
        tuple(trail.troubles),
        tuple(trail.doubts),
        tuple(unknown),
        arrived,
        answered,
        tuple(dict.fromkeys(filter(None, met))),
    )


_LED: Final = frozenset({"service.stranger", "rule.redirects", "rule.sender", "rule.masquerades"})
"""Kinds of trouble after which a packet, or its answer, goes to somebody else."""


def _beside(place: Place, trail: Trail) -> bool:
    """It ends where it should never have come to, because of something that is wrong before."""
    return bool(trail.troubles) and (place.kind in {"router", "far"} or trail.troubles[-1].kind in _LED)


def _reply(there: World, trail: Trail, last: Flow) -> Flow:
    """The answer to a packet as it arrived."""
    reply = Flow(last.dst, last.src, proto=last.proto, dport=REPLY_PORT, state="ESTABLISHED", length=last.length)
    reply = replace(reply, dnated=any(one.after.dst != one.before.dst for one in trail.changes))
    if trail.error:
        router = next(one for one in there.places.values() if one.kind == "router")
        source = router.source(there.nic(router))
        return replace(reply, src=source, proto="icmp", icmp=trail.error, state="RELATED", length=SMALL)
    return replace(reply, icmp="echo-reply" if trail.dialled.proto == "icmp" else reply.icmp)


def _go(there: World, trail: Trail, source: Place, flow: Flow) -> tuple[Place, Flow]:
    """From a sender to the place that takes the packet, and the packet as it is there."""
    came = _start(there, trail, source, flow)
    for _ in range(MOST):
        if not isinstance(came, Arrival):
            return source, came
        place, flow = came.place, came.flow
        if place.kind == "pod":
            return place, _taken(there, trail, place, flow)
        source, came = place, _through(there, trail, came)
    return stop("route.circle", flow.dst, "route", flow=flow)


@dataclass(frozen=True)
class Decided:
    """Where a kernel sends a packet.

    Args:
        rule: By which rule.
        route: By which route.
    """

    rule: Rule
    route: Route


def _decide(place: Place, flow: Flow, iif: str) -> Decided:
    """Where a kernel sends a packet; raises StoppedError when it refuses to."""
    if place.fib is None:
        msg = f"the routes of {place.name} are not known"
        raise BlindError(msg)
    dst = ipaddress.ip_address(flow.dst)
    src = ipaddress.ip_address(flow.src) if flow.src else None
    decision = place.fib.decide(Packet(dst, src, iif or "lo", flow.mark or 0, proto=flow.proto, dport=flow.dport))
    rule, route = decision.rule, decision.route
    if rule is None:
        thing = "default" if not any(one.is_default for rows in place.fib.tables.values() for one in rows) else flow.dst
        stop("route.none", place.name, f"route/{thing}", flow=flow, address=flow.dst)
    if route is None:
        stop("rule.refuses", place.name, f"rule/{rule.priority}", flow=flow, address=flow.dst, rule=rule, way="",
             table=rule.table or MAIN)  # fmt: skip
    if route.kind not in {"unicast", "local"} and rule.table not in {LOCAL, MAIN, DEFAULT}:
        stop("rule.refuses", place.name, f"rule/{rule.priority}", flow=flow, address=flow.dst, rule=rule,
             way=f" by its route {route}", table=rule.table)  # fmt: skip
    if route.kind not in {"unicast", "local"}:
        stop("route.refuses", place.name, f"route/{route.network}", flow=flow, route=route, address=flow.dst)
    return Decided(rule, route)


def _decided(there: World, place: Place, flow: Flow, iif: str) -> Decided:
    """The same; where a kernel refuses because the link that leads there is down, raises StoppedError for the link."""
    try:
        return _decide(place, flow, iif)
    except StoppedError:
        if wanted := POD_NIC if place.kind == "pod" else turns.wanted_device(there, place, flow.dst):
            up(place, wanted)
        raise


def _start(there: World, trail: Trail, source: Place, flow: Flow) -> Arrival | Flow:
    """The packet as it leaves its sender; the packet alone where it stays there."""
    if source.kind == "pod":
        return _from_pod(there, trail, source, flow)
    decision = _decided(there, source, flow, "")
    flow = replace(flow, src=flow.src or _sender(source, decision.route))
    if decision.route.kind == "local":
        _led_away(source, flow)
        return flow
    device = decision.route.devices[0]
    flow = turns.sent(trail, source, device, flow)
    before = flow
    flow = meet(there, trail, source, (Station("ip", "output", "", device),), flow)
    if flow.dst != before.dst:
        decision = _decide(source, flow, "")
        if decision.route.kind == "local":
            trail.step(source.name, "lo", "stays here", flow)
            return flow
    turns.untranslated(there, source, flow, trail)
    return _out(there, trail, source, decision, Arrival(source, "", "", flow))


def _led_away(place: Place, flow: Flow) -> None:
    """Raises BlindError for a packet to a Service that IPVS takes: its tables are not read."""
    if place.addresses.get(flow.dst) == IPVS:
        msg = f"IPVS of {place.name} decides where packets for {flow.dst} go"
        raise BlindError(msg)


def _sender(place: Place, route: Route) -> str:
    """The address that a packet of a machine's own gets (RFC 6724; ip-route(8), src); raises BlindError for none."""
    found = route.source or place.source(route.devices[0]) or next(filter(None, map(place.source, place.links)), "")
    if not found:
        msg = f"the address that {place.name} sends from is not known"
        raise BlindError(msg)
    return found


def _from_pod(there: World, trail: Trail, pod: Place, flow: Flow) -> Arrival | Flow:
    has(pod, flow.src)
    if flow.dst in pod.addresses or flow.dst in _LOOPBACK:
        up(pod, "lo")
        return flow
    if pod.fib is None and not pod.links:  # a pod that was not asked: what its runtime gave it leads to its gateway
        return from_pod(there, trail, pod, _gateway(there, pod, flow.dst), flow)
    flow = meet(there, trail, pod, (Station("ip", "output", "", POD_NIC),), flow)
    decision = _decided(there, pod, flow, "")
    device = decision.route.devices[0]
    up(pod, device)
    flow = turns.sent(trail, pod, device, flow)
    flow = meet(there, trail, pod, leaving(device), flow)
    fits(pod, device, flow)
    trail.step(pod.name, device, f"leaves by {decision.route}", flow)
    if there.foreign and device != POD_NIC and not decision.route.is_default:
        msg = f"{pod.name} sends it by {device}, a network of its own that is not followed"
        raise BlindError(msg)
    if device != POD_NIC:
        stop("route.astray", pod.name, f"route/{decision.route.network}", flow=flow, route=decision.route,
                   rule=decision.rule, to=device, wanted=POD_NIC)  # fmt: skip
    _near(there, pod, decision.route, flow)
    return from_pod(there, trail, pod, _nexthop(decision, flow), flow)


def _near(there: World, pod: Place, route: Route, flow: Flow) -> None:
    """Raises StoppedError for a pod that takes somebody for a neighbour on its bridge who is on another machine."""
    node, owner = there.places[pod.node], there.holder(flow.dst)
    bridge = node.master(pod.host_veth)
    answers = node.setting(conf_key(bridge, "proxy_arp")) == "1"
    if not bridge or answers or owner is None or owner.node == node.name or "via" in route.way.split():
        return
    stop("route.neighbour", pod.name, f"route/{route.network}", flow=flow, route=route, address=flow.dst,
         other=owner.node or owner.name, device=POD_NIC)  # fmt: skip


def _gateway(there: World, pod: Place, dst: str) -> str:
    """The address to which a pod that was not asked sends: its node's on the bridge, or a neighbour there."""
    node = there.places[pod.node]
    bridge = node.master(pod.host_veth)
    near = {address for one in there.on(pod.node) for address in one.addresses}
    return dst if bridge and dst in near else node.source(bridge or there.nic(node))


def _nexthop(decision: Decided, flow: Flow) -> str:
    """The gateway of the first way, or the receiver itself."""
    words = decision.route.way.split(" or ", maxsplit=1)[0].split()
    return words[words.index("via") + 1] if "via" in words else flow.dst


def _taken(there: World, trail: Trail, place: Place, flow: Flow) -> Flow:
    """A pod takes a packet that is for it."""
    has(place, flow.dst)
    if why := place.unusable(flow.dst):
        stop("address.unusable", place.name, f"addr/{flow.dst}", address=flow.dst, why=why)
    if flow.src in place.addresses:
        turns.own_sender(there, trail, place, flow)
    flow = meet(there, trail, place, (*arriving(POD_NIC), Station("ip", "input", POD_NIC)), flow)
    trail.step(place.name, POD_NIC, "arrives", flow)
    return flow


def _through(there: World, trail: Trail, came: Arrival) -> Arrival | Flow:
    """A machine decides: the packet is its own, and is returned; or it goes on."""
    place, flow = came.place, came.flow
    known(place, came.device, came.port)
    up(place, came.device)
    flow = meet(there, trail, place, arriving(came.device, came.port), flow)
    turns.returns(place, came.device, flow)
    _led_away(place, flow)
    turns.untranslated(there, place, flow, trail)
    decision = _decided(there, place, flow, came.device)
    route = decision.route
    if route.kind == "local":
        flow = meet(there, trail, place, (Station("ip", "input", came.device),), flow)
        turns.unled(there, trail, place, flow)
        trail.step(place.name, came.device, "arrives", flow)
        return flow
    if place.kind in {"router", "far"} and trail.direction == "request" and (trail.error or _outside(there, flow)):
        return flow
    turns.forwards(trail, place, came.device, flow)
    flow = replace(flow, ttl=flow.ttl - 1)
    flow = meet(there, trail, place, (Station("ip", "forward", came.device, route.devices[0]),), flow)
    return _out(there, trail, place, decision, replace(came, flow=flow))


def _outside(there: World, flow: Flow) -> bool:
    """For nobody of the cluster: what becomes of it behind the router is not the cluster's."""
    return there.holder(flow.dst) is None


def _out(there: World, trail: Trail, place: Place, decision: Decided, came: Arrival) -> Arrival:
    """A machine sends a packet by the link that its tables say."""
    flow, route = came.flow, decision.route
    device, nexthop = route.devices[0], _nexthop(decision, came.flow)
    turns.leads(there, trail, place, (decision.rule, route), flow)
    up(place, device)
    known(place, device)
    turns.queued(trail, place, device, flow)
    trail.step(place.name, device, f"{decision.rule}: {route}", flow)
    shape = place.kind_of(device)
    pod, port = None, ""
    if shape == "bridge":
        pod, port = to_bridge(there, trail, place, device, nexthop, came.port if came.device == device else "")
        turns.queued(trail, place, port, flow)
    elif shape == "veth":
        pod = there.behind(place.name, device)
    flow = meet(there, trail, place, leaving(device, port, came.device), flow)
    carries(there, place, device)
    fits(place, device, flow)
    turns.masked(there, trail, place, device, flow)
    if pod is not None:
        return Arrival(pod, POD_NIC, "", flow)
    if place.kind == "node" and device == there.context.expect.overlay_device:
        return _tunnel(there, trail, place, device, nexthop, flow)
    return wire(there, trail, place, device, nexthop, flow)


def _tunnel(there: World, trail: Trail, node: Place, device: str, nexthop: str, flow: Flow) -> Arrival:
    """Through the tunnel: the packet that carries it is a packet of the node's own."""
    peer, outer = carried(there, node, device, nexthop, flow)
    trail.step(node.name, device, f"encapsulated for {peer.name}", outer)
    inner, trail.changes = trail.changes, []
    place, _ = _go(there, trail, node, outer)
    trail.changes = inner
    if place.name != peer.name:
        stop("nexthop.nobody", node.name, f"nexthop/{outer.dst}", address=outer.dst, device=device, flow=outer)
    up(peer, device)
    trail.step(peer.name, device, "decapsulated", flow)
    return Arrival(peer, device, "", flow)
