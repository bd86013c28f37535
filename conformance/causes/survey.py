"""What is wrong with a pod network by what its kernels say, without a packet: between all that should reach each other.

Ways of every kind are followed: between pods of a node and of different nodes, in small and in the largest size, to and
from nodes, out of the cluster, and to Services.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from conformance.causes.explain import of_walk
from conformance.causes.flows import Asked
from conformance.context import Context
from conformance.flows import outside
from conformance.inventory import Site
from conformance.netfilter import Flow
from conformance.path.places import world
from conformance.path.walk import walk
from harness.model.cause import Cause

EACH: Final = 2
"""Pods of each node between which all ways are followed; others are followed to one of them, and to their node."""

SERVICES: Final = 12
"""Services to which ways are followed, each from one pod of every node."""

ENDPOINTS: Final = 2
"""Endpoints of each."""

Way = tuple[str, str, Flow, str]
"""Sender, name of the receiver, packet, and the endpoint that a Service shall lead to."""


@dataclass(frozen=True)
class Surveyed:
    """What is to be said of many ways.

    Args:
        causes: What is wrong, that which troubles most ways first.
        ways: How many were followed.
        ended: How many of them could not be followed to their end, though nothing is known to be wrong with them.
        unknown: What of them is not known, that of most ways first.
    """

    causes: tuple[Cause, ...] = ()
    ways: int = 0
    ended: int = 0
    unknown: tuple[str, ...] = ()


def survey(context: Context, skip: AbstractSet[str] = frozenset()) -> Surveyed:
    """What is wrong, and what is not known.

    Args:
        context: The cluster, with the pods between which ways are followed.
        skip: Names of Services that need not lead everywhere.
    """
    found: dict[str, Cause] = {}
    count: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    followed = ended = 0
    for family in context.inventory.families:
        there = context.of(family)
        places = world(there)
        for source, target, flow, prefer in ways(there, skip):
            if places.foreign and prefer and places.holder(prefer) is None:
                continue  # an endpoint on a node that was not asked
            taken = walk(places, source, flow, prefer=prefer)
            followed += 1
            ended += bool(taken.unknown and not taken.troubles)
            unknown.update({*taken.unknown, *taken.unread})
            asked = Asked(source, target, family, flow, prefer)
            for cause in of_walk(places, asked, taken, arrived=None) if taken.troubles else ():
                found.setdefault(cause.key, cause)
                count[cause.key] += 1
    causes = sorted(found.values(), key=lambda one: (one.confidence != "certain", -count[one.key], one.key))
    return Surveyed(tuple(causes), followed, ended, tuple(text for text, _ in unknown.most_common()))


def ways(there: Context, skip: AbstractSet[str] = frozenset()) -> Iterator[Way]:
    """Packets of every kind, of one family.

    Args:
        there: The cluster, in the family.
        skip: Names of Services that are left out.
    """
    pods = [site for site in there.inventory.pods if site.ip]
    core = _core(pods)
    rest = [site for site in pods if site.name not in {one.name for one in core}]
    for one, other in _between(core, rest):
        yield one.name, other.name, Flow(one.ip, other.ip, proto="icmp"), ""
        if one.node != other.node:
            large = min(there.effective(one.node), there.effective(other.node))
            yield one.name, other.name, Flow(one.ip, other.ip, length=large), ""
    asked = [*itertools.product(core, there.inventory.nodes)]
    asked += [(pod, node) for pod in rest for node in there.inventory.nodes if node.name == pod.node]
    for pod, node in asked:
        if node.address:
            yield pod.name, node.name, Flow(pod.ip, node.address, proto="icmp"), ""
            yield node.name, pod.name, Flow("", pod.ip, proto="icmp"), ""
    for pod in pods if there.inventory.outside else ():
        yield pod.name, "outside", Flow(pod.ip, outside(there.family)[0]), ""
    yield from _to_services(there, core, skip)


def _core(pods: Iterable[Site]) -> list[Site]:
    """The first pods of each node."""
    count: Counter[str] = Counter()
    found: list[Site] = []
    for pod in pods:
        count[pod.node] += 1
        if count[pod.node] <= EACH:
            found.append(pod)
    return found


def _between(core: Sequence[Site], rest: Iterable[Site]) -> Iterator[tuple[Site, Site]]:
    """Both ways: between all of the core, and between each other pod and one of another node, or else of its own."""
    yield from itertools.permutations(core, 2)
    for pod in rest:
        other = next((one for one in core if one.node != pod.node), core[0])
        yield from ((pod, other), (other, pod))


def _to_services(there: Context, pods: list[Site], skip: AbstractSet[str]) -> Iterator[Way]:
    first = {pod.node: pod for pod in reversed(pods)}.values()
    virtual = [
        one
        for one in there.inventory.services
        if one.cluster_ip not in {"", "None"} and one.endpoint_ips and one.ports and one.name not in skip
    ]
    for service, pod in itertools.product(virtual[:SERVICES], first):
        port = service.ports[0]
        for endpoint in service.endpoint_ips[:ENDPOINTS]:
            flow = Flow(pod.ip, service.cluster_ip, proto=port.proto, dport=port.port)
            yield pod.name, service.name, flow, endpoint
