"""What a network promises of the decisions on a packet's way: where it is led, who it says it is from. Pure."""

from __future__ import annotations

import ipaddress

from conformance.fib import DEFAULT, LOCAL, MAIN, Packet, Route, Rule
from conformance.netfilter import Flow
from conformance.path.hop import Trail, Trouble, stop
from conformance.path.places import Place, World
from conformance.path.rules import thing_of


def returns(place: Place, device: str, flow: Flow) -> None:
    """Raises StoppedError where strict reverse path filtering drops a packet (ip-sysctl.rst)."""
    if place.family != "ipv4" or place.fib is None:
        return
    keys = {name: f"net.ipv4.conf.{name.replace('.', '/')}.rp_filter" for name in ("all", device)}
    values = {name: int(place.setting(key) or 0) for name, key in keys.items()}
    if max(values.values()) != 1:
        return
    back = place.fib.decide(Packet(ipaddress.ip_address(flow.src), ipaddress.ip_address(flow.dst))).route
    if back is None or device not in back.devices:
        key = keys["all" if values["all"] == 1 else device]
        way = "no route" if back is None else str(back)
        stop("filter.reverse", place.name, f"sysctl/{key}", device=device, flow=flow, way=way, key=key)


def forwards(place: Place, device: str, flow: Flow) -> None:
    """Raises StoppedError where a kernel does not forward, or the packet has made all of its hops."""
    whole = "net.ipv4.ip_forward" if place.family == "ipv4" else "net.ipv6.conf.all.forwarding"
    own = f"net.ipv4.conf.{device.replace('.', '/')}.forwarding" if place.family == "ipv4" else whole
    off = [key for key in (whole, own) if place.setting(key) == "0"]
    if off and place.setting(own) != "1":
        stop("forwarding.off", place.name, f"sysctl/{off[0]}", key=off[0], flow=flow, device=device)
    if flow.ttl <= 1:
        stop("ttl.spent", place.name, thing_of(flow.ttl_rule) if flow.ttl_rule else "ttl", flow=flow,
                   rule=flow.ttl_rule)  # fmt: skip


def leads(there: World, place: Place, rule: Rule, route: Route, flow: Flow) -> None:
    """Raises StoppedError where a node sends a packet for the cluster elsewhere than its network does."""
    wanted = wanted_device(there, place, flow.dst)
    if place.kind != "node" or not wanted or wanted in route.devices:
        return
    facts = {"flow": str(flow), "address": flow.dst, "route": str(route), "rule": str(rule), "wanted": wanted,
             "to": route.way}  # fmt: skip
    if not (rule.plain and rule.table in {LOCAL, MAIN, DEFAULT}):
        stop("rule.astray", place.name, f"rule/{rule.priority}", **facts)
    if route.is_default:
        share = share_of(there, flow.dst)
        stop("route.missing", place.name, f"route/{share or flow.dst}", share=share or flow.dst, **facts)
    stop("route.astray", place.name, f"route/{route.network}", **facts)


def share_of(there: World, address: str) -> str:
    """The podCIDR that an address is of; empty: of none."""
    one = ipaddress.ip_address(address)
    for node in there.context.inventory.nodes:
        if node.pod_cidr and one in ipaddress.ip_network(node.pod_cidr):
            return node.pod_cidr
    return ""


def wanted_device(there: World, place: Place, address: str) -> str:
    """The link by which a node should send packets for an address of the cluster; empty: nothing is promised."""
    expect, owner = there.context.expect, there.holder(address)
    if owner is None or owner.kind in {"router", "far"}:
        inside = owner is not None or ipaddress.ip_address(address) in ipaddress.ip_network(there.context.service_range)
        return "" if inside and owner is None else there.nic(place)
    if owner.kind == "node":
        return there.nic(place) if address == _address(there, owner) and owner.name != place.name else ""
    if owner.node == place.name:
        return expect.bridge or (owner.host_veth if expect.remote_route != "none" else "")
    if expect.remote_route == "overlay-onlink":
        return expect.overlay_device or ""
    return there.nic(place) if expect.remote_route == "via-node" else ""


def _address(there: World, node: Place) -> str:
    return there.context.inventory.node(node.name).address


def untranslated(there: World, place: Place, flow: Flow, trail: Trail) -> None:
    """Raises StoppedError for a packet that is still for a Service, though rules of its node should have led it on."""
    context = there.context
    if place.kind != "node" or not context.gates.get("kp") or trail.direction == "reply":
        return
    virtual = {one.cluster_ip: (one.name, one.ports, one.endpoint_ips) for one in context.inventory.services}
    service = virtual.get(flow.dst)
    if service is not None and service[2]:
        port = next((str(port.port) for port in service[1] if port.port == flow.dport), "")
        if port:
            stop("service.rules", place.name, f"service/{flow.dst}", service=service[0], flow=flow)


def masked(there: World, trail: Trail, place: Place, device: str, flow: Flow) -> None:
    """Note a packet that leaves the cluster with a pod's address, where the network translates those."""
    context = there.context
    if place.kind != "node" or device != there.nic(place) or not context.gates.get("masq"):
        return
    sender, owner = there.holder(flow.src), there.holder(flow.dst)
    if sender is None or sender.kind != "pod" or (owner is not None and owner.kind in {"pod", "node"}):
        return
    if trail.direction == "reply":
        return
    if flow.untracked:
        facts = {"flow": str(flow), "rule": flow.untracked}
        trail.wrong(Trouble("rule.untracks", place.name, thing_of(flow.untracked), facts))
    else:
        trail.wrong(Trouble("masquerade.missing", place.name, "masquerade", {"flow": str(flow), "device": device}))


def answered(there: World, trail: Trail, place: Place, flow: Flow, source: str) -> None:
    """Raises StoppedError for an answer that does not reach who asked, or that has another sender than was asked."""
    if place.name != source:
        stop("reply.elsewhere", place.name, f"addr/{flow.dst}", flow=flow, source=source)
    if flow.src != trail.dialled.dst and trail.changes:
        change = next((one for one in trail.changes if one.before.dst == trail.dialled.dst), trail.changes[0])
        six = "ip6tables" if place.family == "ipv6" else "iptables"
        key = f"net.bridge.bridge-nf-call-{six}"
        off = there.places[change.place].setting(key) == "0"
        thing = f"sysctl/{key}" if off else "conntrack"
        facts = {"flow": str(flow), "dialled": trail.dialled.dst, "key": key, "other": change.place}
        stop("reply.unhooked" if off else "reply.untranslated", change.place, thing, **facts)
