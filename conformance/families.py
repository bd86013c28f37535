"""One run, seen through one IP family: the network model holds for each, so it is judged once for each. Pure.

A judge is given a run of one family: addresses, Services, observations and the variant's data of that family, named as
in a cluster that has no other. So every requirement that bears addresses has a leg for each family, and none is written
twice. What belongs to no family (a network namespace, the verbs of a plugin) is judged once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from conformance.inventory import Inventory, NodeFact, ServiceFact, Site
from harness.model.disturbed import Held, Repair, Speed, Stream
from harness.model.family import TITLE, Family, family_of_dial, family_of_proto, over, transport_of
from harness.model.records import Burst, Churn, Exchange, Leg, Lookup, Observation, Packet, Rung, Tap
from harness.probes.plan import BindProbe, BurstProbe, ChurnProbe, ExchangeProbe, LookupProbe, Probe, RungProbe

SUFFIX: Final = "/ipv6"
"""Ends the name of every leg over IPv6."""

BOTH_TYPES: Final = "A+AAAA"
"""What a C library asks: one look-up of both families."""


def leg_of(leg: str, family: Family) -> str:
    """The name of a leg in a family: `a>c/tcp`, `a>c/tcp/ipv6`."""
    return f"{leg}{SUFFIX}" if family == "ipv6" else leg


def family_of_leg(leg: str) -> Family:
    """The family that a leg's name says."""
    return "ipv6" if leg.endswith(SUFFIX) else "ipv4"


def renamed(legs: Sequence[Leg], family: Family) -> tuple[Leg, ...]:
    """Legs with the names that they have in a family."""
    if family == "ipv4":
        return tuple(legs)
    return tuple(leg.model_copy(update={"leg": leg_of(leg.leg, family)}) for leg in legs)


def planned(inventory: Inventory, make: Callable[[Inventory], Mapping[str, Sequence[Probe]]]) -> dict[str, list[Probe]]:
    """A plan for every family of the cluster, as one: all of it runs at the same time.

    Args:
        inventory: What is there.
        make: The plan for what is there in one family.
    """
    plan: dict[str, list[Probe]] = {}
    for family in inventory.families:
        for place, probes in make(inventory_of(inventory, family)).items():
            plan.setdefault(place, []).extend(_over(probe, family) for probe in probes if _aimed(probe))
    return plan


def _aimed(probe: Probe) -> bool:
    """It has an address to go to: a site without one in this family is dialled by nobody, and its judges say so."""
    return not isinstance(probe, ExchangeProbe | RungProbe | BurstProbe | ChurnProbe) or bool(probe.target.address)


def _over(probe: Probe, family: Family) -> Probe:
    """A probe that says which family it is for."""
    if isinstance(probe, BindProbe) and family == "ipv6":
        return replace(probe, proto=over(probe.proto, family), address=probe.address or "::")
    if isinstance(probe, ExchangeProbe):
        return replace(probe, proto=over(probe.proto, family))
    return replace(probe, family=family) if isinstance(probe, LookupProbe) else probe


def inventory_of(inventory: Inventory, family: Family) -> Inventory:
    """What is there in one family; sites and nodes without an address of it are there, and have none."""
    if inventory.families == (family,) and family == "ipv4":
        return inventory
    sites = tuple(_site(site, family) for site in inventory.sites)
    return inventory.model_copy(
        update={
            "families": (family,),
            "nodes": tuple(_node(node, family) for node in inventory.nodes),
            "sites": sites,
            "services": tuple(_services(inventory.services, sites, family)),
        }
    )


def _node(node: NodeFact, family: Family) -> NodeFact:
    address, share = node.address_of(family), node.share(family)
    return node.model_copy(
        update={"address": address, "addresses": (address,), "pod_cidr": share, "pod_cidrs": (share,)}
    )


def _site(site: Site, family: Family) -> Site:
    address = site.address(family)
    api = tuple(one for one in site.api_ips if family_of_dial(one) == family)
    return site.model_copy(update={"ip": address, "ips": (address,), "api_ips": api})


def _services(services: Sequence[ServiceFact], sites: Sequence[Site], family: Family) -> Iterator[ServiceFact]:
    """Services that have an address of the family, or none at all by design."""
    owners = {site.ip: site.name for site in sites if site.kind == "pod" and site.ip}
    for service in services:
        virtual = service.virtual(family)
        if service.cluster_ip not in {"", "None"} and not virtual:
            continue
        addresses = tuple(one for one in service.endpoint_ips if family_of_dial(one) == family)
        yield service.model_copy(
            update={
                "cluster_ip": virtual or service.cluster_ip,
                "cluster_ips": (virtual,) if virtual else (),
                "endpoint_ips": addresses,
                "endpoints": tuple(owners[one] for one in addresses if one in owners),
            }
        )


def observations_of(seen: Sequence[Observation], family: Family, *, first: bool) -> Iterator[Observation]:
    """What was seen in one family, named as in a cluster that has no other.

    Args:
        seen: Everything.
        family: Which.
        first: It is the primary one: what belongs to no family is seen there.
    """
    for one in seen:
        match one:
            case Exchange():
                if family_of_proto(one.proto) == family:
                    yield one.model_copy(update={"proto": transport_of(one.proto)})
            case Rung() | Burst() | Churn() | Stream() | Held() | Speed() | Repair():
                if one.family == family:
                    yield one
            case Lookup():
                yield from _lookup(one, family)
            case Tap():
                kept = tuple(packet for packet in one.packets if _is_of(packet, family, first=first))
                yield one.model_copy(update={"packets": kept})
            case _:
                yield one


def _lookup(one: Lookup, family: Family) -> Iterator[Lookup]:
    """A look-up belongs to the family that it was made for; one of both types shows each family its own answers."""
    if one.qtype == BOTH_TYPES:
        kept = tuple(answer for answer in one.answers if family_of_dial(answer) == family)
        yield one.model_copy(update={"answers": kept})
    elif one.family == family:
        yield one


def _is_of(packet: Packet, family: Family, *, first: bool) -> bool:
    inner = packet.inner or packet
    if "." not in inner.src and ":" not in inner.src:
        return first  # it has no addresses that could tell
    return family_of_dial(inner.src) == family


def subject(what: str, family: Family) -> str:
    """The subject of a dump that has a family's part of it: `rules-iptables6` beside `rules-iptables`."""
    return f"{what}6" if family == "ipv6" and what in OF_A_FAMILY else what


OF_A_FAMILY: Final = frozenset({"rules-iptables", "rules-legacy", "policy-rules"})
"""Subjects that are read once for each family."""


def titled(texts: Mapping[Family, str]) -> str:
    """Sentences of several families as one; that of one alone as it is."""
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{TITLE[family]}: {text}" for family, text in texts.items())


def detailed(detail: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """What proves a leg, with the name that it has in a family."""
    known = dict(detail)
    if family == "ipv6" and isinstance(known.get("leg"), str):
        known["leg"] = leg_of(known["leg"], family)
    return known
