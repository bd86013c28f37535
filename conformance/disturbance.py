"""Who streams to whom, who holds a connection to whom, and what is measured while a network is disturbed. Pure.

Plans and judges have the same pairs: what was planned and is not reported is an error. Judges see one family of a run,
and so does who makes these plans.
"""

from __future__ import annotations

from typing import Final

from conformance.inventory import Inventory, Site
from conformance.pairs import first_pods
from harness.model.world import RESPONDER_PORT, public
from harness.probes.plan import Target

Way = tuple[Site, Target]
"""Who sends, and to what."""

SELF: Final = "self"
"""Target of the connection that a pod holds to itself, over its loopback: it shows what the pod's machine does."""

SERVICE: Final = "sole-"
"""Begins the name of a Service with a single endpoint, on the other node."""


def ends(inventory: Inventory) -> tuple[Site, ...]:
    """A pod on each of two nodes; two pods of the node where there is only one node."""
    first = first_pods(inventory)
    if len(first) > 1:
        return first[:2]
    pods = inventory.pods
    return pods[:2] if len(pods) > 1 else ()


def _target(site: Site, name: str = "", address: str = "") -> Target:
    return Target(name or site.name, site.node, address or site.ip, site.port)


def streams(inventory: Inventory) -> tuple[Way, ...]:
    """Streams both ways between two pods, and one of the first pod to itself: what that loses the machine has lost."""
    pair = ends(inventory)
    if not pair or not all(site.ip for site in pair):
        return ()
    one, other = pair
    return ((one, _target(other)), (other, _target(one)), (one, _target(one, SELF, _loopback(one))))


def _loopback(site: Site) -> str:
    return "::1" if ":" in site.ip else "127.0.0.1"


def held(inventory: Inventory) -> tuple[Way, ...]:
    """Connections of a pod: to a pod of another node, to a Service's address, to the outside, and to itself."""
    pair = ends(inventory)
    if not pair or not all(site.ip for site in pair):
        return ()
    one, other = pair
    found = [(one, _target(other)), (other, _target(one))]
    service = inventory.service(f"{SERVICE}{other.name}")
    family = inventory.families[0]
    if service is not None and service.virtual(family):
        found.append((one, Target(service.name, "", service.virtual(family), service.port("tcp").port)))
    router = inventory.by_name.get("router")
    if router is not None and router.ip:
        found.append((one, Target("router", "", str(public(family)), RESPONDER_PORT)))
    return (*found, (one, _target(one, SELF, _loopback(one))))


def answerers(inventory: Inventory, src: str, dst: str) -> tuple[str, ...]:
    """Who may answer on the way from a site to a target of `held` or `streams`."""
    if dst == SELF:
        return (src,)
    service = next((one for one in inventory.services if one.name == dst), None)
    return service.endpoints if service is not None else (dst,)


def measured(inventory: Inventory) -> tuple[Way, ...]:
    """Pairs whose speed is measured, one at a time: on a node, and between two nodes."""
    found: list[Way] = []
    first = first_pods(inventory)
    for site in first[:1]:
        local = inventory.on(site.node)
        found += [(site, _target(local[1]))] if len(local) > 1 else []
    found += [(first[0], _target(first[1]))] if len(first) > 1 else []
    return tuple(way for way in found if way[0].ip and way[1].address)
