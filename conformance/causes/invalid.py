"""Nodes that forward packets which their connection tracking calls INVALID: a client gets them untranslated. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from conformance.causes.library import described
from conformance.causes.seen import in_order
from conformance.context import Context
from conformance.families import family_of_leg
from conformance.hooks import Station, chains
from conformance.inventory import Site
from conformance.netfilter import ACCEPT, RETURN, Flow
from conformance.noderules import node_rules
from conformance.strays import ways
from harness.model.cause import Cause
from harness.model.family import Family
from harness.model.records import Leg

CHECK: Final = "ct.invalid"

_STATE: Final = "INVALID"
_PORT: Final = 45000


def forwarded(context: Context, red: Sequence[tuple[str, Leg]]) -> list[Cause]:
    """Nodes on the ways of connections that were reset, whose rules let a packet pass that is part of no connection.

    Args:
        context: The run.
        red: All failed legs.
    """
    found: dict[tuple[str, Family], set[tuple[str, str]]] = {}
    for check, leg in red:
        if check == CHECK and leg.status == "fail":
            family = family_of_leg(leg.leg)
            for node in _letting(context.of(family), leg.leg):
                found.setdefault((node, family), set()).add((check, leg.leg))
    return [_cause(node, family, legs) for (node, family), legs in found.items()]


def _cause(node: str, family: Family, legs: set[tuple[str, str]]) -> Cause:
    told = described("invalid.forwarded", node, {}, family)
    facts = {"key": f"{node}/iptables/filter/KUBE-FORWARD/invalid", "confidence": "certain"}
    return Cause.model_validate({**told, **facts, "follows": in_order(legs), "legs": len(legs)})


def _letting(there: Context, leg: str) -> Iterator[str]:
    """Nodes between the server of a leg and its client that let such a packet pass."""
    for client, service, server in ways(there.inventory):
        if leg.startswith(f"{client.name}>{service.name}/"):
            flow = Flow(server.ip, client.ip, state=_STATE, dport=_PORT)
            passed = [(node, _passes(there, node, flow, server, client)) for node in _nodes(server, client)]
            if all(one is not False for _, one in passed):
                yield from (node for node, one in passed if one)


def _nodes(server: Site, client: Site) -> tuple[str, ...]:
    return tuple(dict.fromkeys((server.node, client.node)))


def _passes(there: Context, node: str, flow: Flow, server: Site, client: Site) -> bool | None:
    """The node forwards such a packet; None where its rules are not known."""
    rules = node_rules(there, node)
    if rules is None:
        return None
    away = there.expect.overlay_device or there.spec.cluster_nic
    near = [there.expect.bridge or one.host_veth if one.node == node else away for one in (server, client)]
    station = Station("ip", "forward", *near)
    packet = replace(flow, iif=station.iif, oif=station.oif)
    for chain in chains(rules, station, packet):
        ends = chain(packet)
        if all(end.verdict not in {ACCEPT, RETURN} for end in ends):
            return False
    return True
