"""A packet at the hooks of a node: what its rules certainly do with it, and what they may do. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from conformance.hooks import Station, chains
from conformance.netfilter import ACCEPT, DNAT, ITSELF, MASQUERADE, REJECT, RETURN, SNAT, UNKNOWN, End, Flow
from conformance.path.hop import BlindError, Change, StoppedError, Trail, Trouble
from conformance.path.places import Place, World

_TURNING: Final = frozenset({DNAT, SNAT, MASQUERADE})
_PASSING: Final = frozenset({ACCEPT, RETURN})


def meet(there: World, trail: Trail, place: Place, stations: Iterable[Station], flow: Flow) -> Flow:
    """The packet after all rules of some hooks.

    Args:
        there: All places.
        trail: Gets what is wrong, and translations.
        place: A node; the rules of a place that was not asked let all pass.
        stations: Hooks, in order.
        flow: The packet, as it comes.

    Raises:
        StoppedError: A rule certainly stops it.
        BlindError: The rules of the node are not known.
    """
    if place.rules is None and place.kind == "node":
        msg = f"the rules of {place.name} are not known"
        raise BlindError(msg)
    before = flow.ttl_rule
    for station in stations:
        at = replace(flow, iif=station.iif, oif=station.oif, to_local=flow.dst in place.addresses)
        if station.layer == "ip" and station.hook == "prerouting":
            at = _back(trail, place, at, destination=True)
        for chain in chains(place.rules, station, at) if place.rules is not None else ():
            at = _after(there, trail, place, station, at, chain(at))
        if station.layer == "ip" and station.hook in {"postrouting", "input"}:
            at = _back(trail, place, at, destination=False)
        flow = at
    if flow.ttl_rule != before:
        trail.wrong(lowered(place.name, flow))
    return flow


def lowered(place: str, flow: Flow) -> Trouble:
    """The rule that gives a packet another TTL, as something that is wrong.

    Args:
        place: Whose rule.
        flow: The packet after it.
    """
    facts = {"flow": str(flow), "rule": flow.ttl_rule, "ttl": str(flow.ttl)}
    return Trouble("rule.ttl", place, thing_of(flow.ttl_rule), facts, deviates=True)


def _after(there: World, trail: Trail, place: Place, station: Station, flow: Flow, ends: set[End]) -> Flow:
    """The packet after one chain; several ends mean that it is not known which it takes, and the usual one is taken."""
    ordered = sorted(ends, key=lambda end: (end.rule, end.to, end.port))
    passing = [end.flow for end in ordered if end.verdict in _PASSING]
    turning = [end for end in ordered if end.verdict in _TURNING]
    stopping = [end for end in ordered if end.verdict not in _PASSING | _TURNING]
    if stopping and not passing and not turning:
        found = of_rule(place.name, stopping[0], flow, station)
        if stopping[0].verdict == UNKNOWN:
            found = replace(found, certain=False)
        raise StoppedError(found)
    for end in stopping:
        trail.doubts.append(replace(of_rule(place.name, end, flow, station), certain=False))
    if turning and (not passing or trail.prefer in {end.to for end in turning}):
        return _turned(there, trail, place, station, flow, turning)
    for end in turning:
        trail.doubts.append(replace(of_rule(place.name, end, flow, station), certain=False))
    # Of several the one that no rule has changed: a rule that may not match is more likely a special case.
    return min(passing, key=lambda one: (one != flow, one.mark or 0)) if passing else flow


def _turned(there: World, trail: Trail, place: Place, station: Station, flow: Flow, turning: list[End]) -> Flow:
    """The packet with another address."""
    end = next((one for one in turning if one.to == trail.prefer and one.to), turning[0])
    if end.verdict == DNAT:
        to = end.to
        if to == ITSELF:
            to = place.source(station.iif) or next(iter(place.addresses), flow.dst)
        after = replace(end.flow, dst=to or flow.dst, dport=end.port or flow.dport, to_local=to in place.addresses)
    else:
        after = replace(end.flow, src=end.to or place.source(station.oif) or flow.src)
    trail.changes.append(Change(place.name, flow, after))
    word = "redirects" if end.verdict == DNAT else "masquerades" if end.verdict == MASQUERADE else "translates"
    trail.step(place.name, station.oif or station.iif, f"{station}: {word} by {end.rule}", after)
    _expected(there, trail, place, station, flow, end)
    return after


def _expected(there: World, trail: Trail, place: Place, station: Station, flow: Flow, end: End) -> None:
    """Note a translation that packets of the model do not get."""
    inventory, found = there.context.inventory, replace(of_rule(place.name, end, flow, station), deviates=True)
    if end.verdict != DNAT:
        if _is_pod(there, flow.src) and _is_pod(there, flow.dst) and not _translated(trail, place.name, flow):
            trail.wrong(found)
        return
    service = next((one for one in inventory.services if one.cluster_ip == flow.dst), None)
    if service is not None:
        if end.to and service.endpoint_ips and end.to not in service.endpoint_ips:
            trail.wrong(replace(found, kind="service.stranger", facts={**found.facts, "service": service.name}))
    elif _is_pod(there, flow.dst) or (
        flow.dst in {node.address for node in inventory.nodes} and flow.dport not in _node_ports(there)
    ):
        trail.wrong(found)


def _node_ports(there: World) -> set[int]:
    """Ports of nodes that lead to Services and pods on purpose."""
    inventory = there.context.inventory
    ports = {port.node_port for service in inventory.services for port in service.ports if port.node_port}
    return ports | {node.host_port for node in inventory.nodes}


def _translated(trail: Trail, place: str, flow: Flow) -> bool:
    """A packet for a Service: what becomes of its sender is for the rules of Services."""
    return any(one.place == place and one.after.dst == flow.dst != one.before.dst for one in trail.changes)


def _is_pod(there: World, address: str) -> bool:
    holder = there.holder(address)
    return holder is not None and holder.kind == "pod"


def _back(trail: Trail, place: Place, flow: Flow, *, destination: bool) -> Flow:
    """A reply with the addresses that the other side knows, where its place has translated the request."""
    if trail.direction != "reply":
        return flow
    for change in reversed([one for one in trail.changes if one.place == place.name]):
        if destination and flow.dst == change.after.src != change.before.src:
            flow = replace(flow, dst=change.before.src, to_local=change.before.src in place.addresses)
            trail.step(place.name, flow.iif, "translates the answer back", flow)
        if not destination and flow.src == change.after.dst != change.before.dst:
            flow = replace(flow, src=change.before.dst)
            trail.step(place.name, flow.oif or flow.iif, "translates the answer back", flow)
    return flow


_KINDS: Final = {
    REJECT: "rule.rejects", DNAT: "rule.redirects", MASQUERADE: "rule.masquerades", SNAT: "rule.masquerades",
    UNKNOWN: "rule.foreign",
}  # fmt: skip


def of_rule(place: str, end: End, flow: Flow, station: Station) -> Trouble:
    """What a rule does, as something that is wrong.

    Args:
        place: Whose rule.
        end: What it does.
        flow: With which packet.
        station: Where.
    """
    facts = {"flow": str(flow), "hook": str(station), "rule": end.rule or "a rule", "to": end.to}
    return Trouble(_KINDS.get(end.verdict, "rule.drops"), place, thing_of(end.rule), facts)


_NFT: Final = re.compile(r"table (\S+) (\S+), chain (\S+?)(?:, rule (\d+))?$")
_SAVED: Final = re.compile(r"(?:(iptables\S*), )?table (\S+), chain (\S+?)(?:, rule (\d+))?$")


def thing_of(rule: str) -> str:
    """A rule as the end of a key: `nft/inet firewalld/filter_FORWARD/4`, `iptables/nat/POSTROUTING/3`."""
    text = rule.replace("the policy of ", "")
    policy = "policy" if text != rule else ""
    if found := _NFT.search(text):
        return f"nft/{found[1]} {found[2]}/{found[3]}/{found[4] or policy}"
    if found := _SAVED.search(text):
        return f"{found[1] or 'iptables'}/{found[2]}/{found[3]}/{found[4] or policy}"
    return f"rules/{rule}"
