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


def lost_node(inventory: Inventory) -> str:
    """The node that is taken out of the cluster for a moment: the second one; empty where there is no other."""
    return inventory.nodes[1].name if len(inventory.nodes) > 1 else ""


def bystanders(inventory: Inventory) -> tuple[Way, ...]:
    """Streams between pods of all other nodes, in a circle, between two pods of the first node, and of one to itself.

    Whoever receives one sends one, too: its agent counts.
    """
    first = [site for site in first_pods(inventory) if site.node != lost_node(inventory)]
    local = inventory.on(first[0].node)[:2] if first else ()
    pairs = [*zip(first, (*first[1:], *first[:1]), strict=True)] if len(first) > 1 else []
    pairs += [(local[0], local[1]), (local[1], local[0])] if len(local) > 1 else []
    if not pairs or not all(site.ip for pair in pairs for site in pair):
        return ()
    return (*((one, _target(other)) for one, other in pairs), (local[0], _target(local[0], SELF, _loopback(local[0]))))


def reunited(inventory: Inventory) -> tuple[Way, ...]:
    """Both ways between a pod of the node that was away, and one of each other node."""
    first = first_pods(inventory)
    own = [site for site in first if site.node == lost_node(inventory) and site.ip]
    others = [site for site in first if site.node != lost_node(inventory) and site.ip]
    return tuple(way for one in own for other in others for way in ((one, _target(other)), (other, _target(one))))


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
