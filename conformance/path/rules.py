"""A packet at the hooks of a node: what its rules certainly do with it, and what they may do. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from conformance.hooks import Station, chains
from conformance.netfilter import ACCEPT, DNAT, ITSELF, MASQUERADE, RETURN, SNAT, UNKNOWN, End, Flow
from conformance.path.hop import BlindError, Change, StoppedError, Trail
from conformance.path.named import clamps, lowered, of_rule
from conformance.path.places import Place, World
from conformance.path.translations import expected

_TURNING: Final = frozenset({DNAT, SNAT, MASQUERADE})
_OWN: Final = frozenset({"127.0.0.1", "127.0.0.6", "::1", "::6"})
"""Where sidecars of service meshes listen."""

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
        BlindError: The rules of the node are not known, or a pod's own program takes the packet.
    """
    if place.rules is None and place.kind == "node":
        msg = f"the rules of {place.name} are not known"
        raise BlindError(msg)
    before, clamped = flow.ttl_rule, flow.mss_rule
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
    if flow.mss_rule != clamped:
        trail.wrong(clamps(place.name, flow))
    return flow


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
    if station.hook == "postrouting":
        trail.exempt = next((end.rule for end in ordered if end.verdict == ACCEPT and end.rule), trail.exempt)
    # Of several the one that no rule has changed: a rule that may not match is more likely a special case.
    return min(passing, key=lambda one: (one != flow, one.mark or 0)) if passing else flow


def _turned(there: World, trail: Trail, place: Place, station: Station, flow: Flow, turning: list[End]) -> Flow:
    """The packet with another address."""
    turning = sorted(turning, key=lambda one: (one.to != trail.prefer, one.flow.mark or 0, one.rule))
    end = turning[0]
    if place.kind == "pod" and end.verdict == DNAT and (end.to == ITSELF or end.to in {*place.addresses, *_OWN}):
        msg = f"a program of {place.name} itself takes what {end.rule} redirects to it"
        raise BlindError(msg)
    if end.verdict == DNAT:
        to = end.to
        if to == ITSELF:
            to = place.source(station.iif) or next(iter(place.addresses), flow.dst)
        after = replace(
            end.flow, dst=to or flow.dst, dport=end.port or flow.dport, to_local=to in place.addresses, dnated=True
        )
    else:
        after = replace(end.flow, src=end.to or place.source(station.oif) or flow.src)
    trail.changes.append(Change(place.name, flow, after))
    word = "redirects" if end.verdict == DNAT else "masquerades" if end.verdict == MASQUERADE else "translates"
    trail.step(place.name, station.oif or station.iif, f"{station}: {word} by {end.rule}", after)
    for one in turning:
        expected(there, trail, place, station, flow, one)
    return after


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
