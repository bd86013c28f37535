"""What a network promises of the decisions on a packet's way: where it is led, who it says it is from. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Final

from conformance.dumps import conf_key
from conformance.fib import DEFAULT, LOCAL, MAIN, Packet, Route, Rule
from conformance.hooks import Station, chains
from conformance.inventory import NodeFact
from conformance.netfilter import REJECT, Flow
from conformance.path.hop import BlindError, StoppedError, Trail, Trouble, stop
from conformance.path.links import up
from conformance.path.named import thing_of
from conformance.path.places import Place, World


def returns(place: Place, device: str, flow: Flow) -> None:
    """Raises StoppedError where strict reverse path filtering drops a packet (ip-sysctl.rst)."""
    if place.family != "ipv4" or place.fib is None:
        return
    keys = {name: conf_key(name, "rp_filter") for name in ("all", device)}
    values = {name: int(place.setting(key) or 0) for name, key in keys.items()}
    if max(values.values()) != 1:
        return
    back = place.fib.decide(Packet(ipaddress.ip_address(flow.src), ipaddress.ip_address(flow.dst))).route
    if back is None or device not in back.devices:
        key = keys["all" if values["all"] == 1 else device]
        way = "no route" if back is None else str(back)
        stop("filter.reverse", place.name, f"sysctl/{key}", device=device, flow=flow, way=way, key=key)


HOPS: Final = 64
"""Hops that packets make, unless their sender's setting says otherwise (ip-sysctl.rst: ip_default_ttl, hop_limit)."""


def sent(trail: Trail, place: Place, device: str, flow: Flow) -> Flow:
    """The packet with the TTL, or the hop limit, that its sender gives it.

    Args:
        trail: Gets the setting, if it is not the usual one.
        place: The sender.
        device: By which it leaves.
        flow: The packet.
    """
    four = place.family == "ipv4"
    key = "net.ipv4.ip_default_ttl" if four else conf_key(device, "hop_limit", "ipv6")
    value = place.setting(key)
    usual = not value.isdigit() or int(value) == HOPS
    trail.hops = None if usual else (place.name, key)
    return flow if usual else replace(flow, ttl=int(value))


def queued(trail: Trail, place: Place, device: str, flow: Flow) -> None:
    """Note a queue that may drop what leaves by a device (tc(8), QDISCS)."""
    if queue := place.queues.get(device):
        facts = {"device": device, "queue": queue, "flow": str(flow)}
        trail.wrong(Trouble("queue.drops", place.name, f"queue/{device}", facts, certain=False))


def forwards(trail: Trail, place: Place, device: str, flow: Flow) -> None:
    """Raises StoppedError where a kernel does not forward, or the packet has made all of its hops."""
    whole = "net.ipv4.ip_forward" if place.family == "ipv4" else "net.ipv6.conf.all.forwarding"
    own = conf_key(device, "forwarding") if place.family == "ipv4" else whole
    off = [key for key in (whole, own) if place.setting(key) == "0"]
    if off and place.setting(own) != "1":
        stop("forwarding.off", place.name, f"sysctl/{off[0]}", key=off[0], flow=flow, device=device)
    if flow.ttl <= 1 and not flow.ttl_rule and trail.hops is not None:
        sender, key = trail.hops
        stop("ttl.low", sender, f"sysctl/{key}", flow=flow, key=key, usual=HOPS, other=place.name)
    if flow.ttl <= 1 and not flow.ttl_rule:
        stop("ttl.spent", place.name, "ttl", flow=flow)


def leads(there: World, trail: Trail, place: Place, by: tuple[Rule, Route], flow: Flow) -> None:
    """Note a node that sends a packet for the cluster elsewhere than its network does.

    Args:
        there: All places.
        trail: Gets what is wrong.
        place: Who decides.
        by: The rule and the route that decide.
        flow: The packet.

    Raises:
        StoppedError: It is sent out of the cluster, where nobody knows the way.
    """
    wanted, (rule, route) = wanted_device(there, place, flow.dst), by
    sharing = there.sharing(flow.dst)
    gateway = _gateway(there, place, sharing)
    if place.kind != "node" or not wanted:
        return
    if wanted in route.devices and (not gateway or gateway in route.way.split()):
        return
    up(place, wanted)
    share = sharing.pod_cidr if sharing is not None else flow.dst
    facts = {"flow": str(flow), "address": flow.dst, "route": str(route), "rule": str(rule),
             "wanted": f"{gateway} at {wanted}" if gateway else wanted,
             "to": route.way, "share": share, "way": _way(there, sharing, wanted, gateway)}  # fmt: skip
    if not (rule.plain and rule.table in {LOCAL, MAIN, DEFAULT}):
        found = Trouble("rule.astray", place.name, f"rule/{rule.priority}", facts, deviates=True)
    elif route.is_default:
        found = Trouble("route.missing", place.name, f"route/{share}", facts, deviates=True)
    else:
        found = Trouble("route.astray", place.name, f"route/{route.network}", facts, deviates=True)
    if route.is_default or place.kind_of(route.devices[0]) in {"bridge", "dummy"}:
        raise StoppedError(found)
    trail.wrong(found)


def _gateway(there: World, place: Place, sharing: NodeFact | None) -> str:
    """To whom a node sends what is for another one's share, where nodes are each other's gateways; empty: nobody."""
    through = there.context.expect.remote_route == "via-node"
    return sharing.address if through and sharing is not None and sharing.name != place.name else ""


def _way(there: World, sharing: NodeFact | None, device: str, gateway: str) -> str:
    """The rest of the route to a node's share: `via 10.244.1.0 dev TUNNEL onlink`."""
    expect = there.context.expect
    if sharing is not None and device == expect.overlay_device:
        first = ipaddress.ip_network(sharing.pod_cidr).network_address
        return f"via {first} dev {device} onlink"
    if gateway:
        return f"via {gateway} dev {device}"
    return f"dev {device}"


def wanted_device(there: World, place: Place, address: str) -> str:
    """The link by which a node should send packets for an address of the cluster; empty: nothing is promised."""
    owner = there.holder(address)
    if there.foreign and (owner is None or owner.kind != "pod"):
        return ""  # its nodes may have more links than one, and ways that lead anywhere
    if owner is None:
        virtual = ipaddress.ip_address(address) in ipaddress.ip_network(there.context.service_range)
        return "" if virtual or there.sharing(address) else there.nic(place)
    if owner.name == place.name:
        return ""
    if owner.kind != "pod" and (owner.kind != "node" or address == _address(there, owner)):
        return there.nic(place)
    return _to_pods(there, place, owner) if owner.kind == "pod" or there.sharing(address) else ""


def _to_pods(there: World, place: Place, owner: Place) -> str:
    """The same, for an address of a node's share: a pod's, or that of a tunnel."""
    expect = there.context.expect
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
    if place.kind != "node" or not (there.proxied or there.foreign) or trail.direction == "reply":
        return
    inventory = context.inventory
    virtual = {
        (one.cluster_ip, port.port): one.name for one in inventory.services if one.endpoint_ips for port in one.ports
    }
    virtual |= {(inventory.node_dns, DNS_PORT): "kube-dns"} if inventory.node_dns else {}
    virtual |= {(inventory.api.cluster_ip, inventory.api.port): "kubernetes"} if inventory.api is not None else {}
    if service := virtual.get((flow.dst, flow.dport)):
        if not there.proxied:
            msg = f"what leads packets for Service {service} on is not known: no node has rules of kube-proxy"
            raise BlindError(msg)
        kind = "service.unready" if _refuses(there, place, flow) else "service.rules"
        stop(kind, place.name, "services", service=service, flow=flow)


def _refuses(there: World, place: Place, flow: Flow) -> bool:
    """Rules refuse what is forwarded to this address: so proxies do for Services that have no endpoint."""
    station = Station("ip", "forward", "", there.nic(place))
    packet = replace(flow, iif=station.iif, oif=station.oif)
    return place.rules is not None and any(
        end.verdict == REJECT for chain in chains(place.rules, station, packet) for end in chain(packet)
    )


DNS_PORT: Final = 53


def unled(there: World, trail: Trail, place: Place, flow: Flow) -> None:
    """Raises StoppedError for a packet to a port of a node that leads to pods, and that the node takes for itself."""
    if place.kind != "node" or trail.direction == "reply" or flow.dst != trail.dialled.dst:
        return
    inventory = there.context.inventory
    service = next((one.name for one in inventory.services for port in one.ports if port.node_port == flow.dport), "")
    if service and there.proxied and not there.foreign:
        stop("service.rules", place.name, "services", service=service, flow=flow)
    if flow.dport == inventory.node(place.name).host_port and not there.foreign:
        stop("hostport.rules", place.name, "hostports", flow=flow)


def own_sender(there: World, trail: Trail, place: Place, flow: Flow) -> None:
    """Raises StoppedError where a pod gets a packet from its own address: another has it too, or nothing masks it."""
    twin = next((one for one in there.places.values() if flow.src in one.addresses and one.name != place.name), None)
    if twin is not None:
        stop("address.twice", place.name, f"addr/{flow.src}", address=flow.src, other=twin.name)
    if not trail.changes:
        return
    node = place.node
    if trail.exempt:
        stop("rule.exempts", node, thing_of(trail.exempt), flow=flow, rule=trail.exempt)
    stop("source.own", place.name, f"addr/{flow.src}", address=flow.src, flow=flow)


def masked(there: World, trail: Trail, place: Place, device: str, flow: Flow) -> None:
    """Note a packet that leaves the cluster with a pod's address, where the network translates those."""
    context = there.context
    if place.kind != "node" or device != there.nic(place) or not context.gates.get("masq"):
        return
    sender, owner = there.holder(flow.src), there.holder(flow.dst)
    if sender is None or sender.kind != "pod" or (owner is not None and owner.kind in {"pod", "node"}):
        return
    if there.foreign and ipaddress.ip_address(flow.dst) in ipaddress.ip_network(context.pod_range):
        return  # a pod of a node that was not asked
    if trail.direction == "reply":
        return
    if trail.exempt and not flow.untracked:
        facts = {"flow": str(flow), "rule": trail.exempt}
        trail.wrong(Trouble("rule.exempts", place.name, thing_of(trail.exempt), facts, deviates=True))
    elif flow.untracked:
        facts = {"flow": str(flow), "rule": flow.untracked}
        trail.wrong(Trouble("rule.untracks", place.name, thing_of(flow.untracked), facts, deviates=True))
    else:
        trail.wrong(
            Trouble(
                "masquerade.missing", place.name, "masquerade", {"flow": str(flow), "device": device}, deviates=True
            )
        )


def refused(there: World, trail: Trail, source: str) -> None:
    """Note a packet that rules should refuse, and do not; one that they refuse is as it should be.

    Args:
        there: All places.
        trail: Of the packet; what refuses it is no trouble.
        source: Who sends it.
    """
    last = trail.troubles[-1] if trail.troubles else None
    if last is not None and last.kind == "rule.rejects":
        trail.troubles.pop()
    elif last is None or last.kind != "rule.drops":
        node = there.places[source].node
        trail.troubles[:] = [
            Trouble("service.unrefused", node, "services", {"flow": str(trail.dialled)}, deviates=True)
        ]


def answered(there: World, trail: Trail, place: Place, flow: Flow, source: str) -> None:
    """Raises StoppedError for an answer that does not reach who asked, or that has another sender than was asked."""
    if place.name != source:
        stop("reply.elsewhere", place.name, f"addr/{flow.dst}", flow=flow, source=source)
    if flow.src != trail.dialled.dst and trail.changes and not trail.error:
        change = next((one for one in trail.changes if one.before.dst == trail.dialled.dst), trail.changes[0])
        six = "ip6tables" if place.family == "ipv6" else "iptables"
        key = f"net.bridge.bridge-nf-call-{six}"
        off = there.places[change.place].setting(key) == "0"
        thing = f"sysctl/{key}" if off else "conntrack"
        facts = {"flow": str(flow), "dialled": trail.dialled.dst, "key": key, "other": change.place}
        stop("reply.unhooked" if off else "reply.untranslated", change.place, thing, **facts)
