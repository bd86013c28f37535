"""IP families of a cluster that nobody here made, from what pods, nodes and Services show of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from harness.model.family import FAMILIES, TITLE, Family, family_of, family_of_dial
from harness.providers.existing.survey import NodeInfo

Object = dict[str, Any]

USUAL: Final[tuple[Family, ...]] = ("ipv4",)
"""What is taken for granted where nothing shows it."""


def distinct(addresses: Iterable[str]) -> tuple[Family, ...]:
    """Families of addresses or ranges, each once, in their order."""
    return tuple(dict.fromkeys(family_of_dial(one) for one in addresses if one))


def of_cluster(
    pods: Sequence[Object], nodes: Sequence[NodeInfo], services: Sequence[Object], ranges: Sequence[str]
) -> tuple[Family, ...]:
    """Families of the cluster's pods that its nodes and Services have, too; the primary one first.

    What pods have counts most: shares of nodes may be there for a network that does not use them.

    Args:
        pods: Pods of any namespace, as far as they may be listed.
        nodes: All nodes, as far as they may be listed.
        services: `kubernetes` and the cluster's DNS: they have their families before anybody asks for one.
        ranges: Of Services, as far as they may be listed.
    """
    found = _of_pods(pods) or _most(one.pod_cidrs for one in nodes)
    found = found or _most(one.addresses for one in nodes)[:1]
    primary = _primary(services)
    if not found:
        return (primary,) if primary else USUAL
    if primary in found:
        found = (primary, *(one for one in found if one != primary))
    able = set(found)
    for others in (_all(one.addresses for one in nodes), frozenset(distinct(ranges))):
        able &= others or able
    # A Service needs a range of its family, and a port of a node an address of its own.
    return tuple(one for one in found if one in able) or found[:1]


def _of_pods(pods: Sequence[Object]) -> tuple[Family, ...]:
    """Of pods that have a network of their own."""
    mine = [one for one in pods if not one["spec"].get("hostNetwork")]
    return _most(tuple(entry["ip"] for entry in one.get("status", {}).get("podIPs") or ()) for one in mine)


def _most(several: Iterable[Sequence[str]]) -> tuple[Family, ...]:
    """The families of whoever has the most of them, and shows them first."""
    return max(map(distinct, several), key=len, default=())


def _all(several: Iterable[Sequence[str]]) -> frozenset[Family]:
    """The families that somebody has."""
    return frozenset(family for addresses in several for family in distinct(addresses))


def _primary(services: Sequence[Object]) -> Family | None:
    """The family of Services that ask for none."""
    for service in services:
        for title in service.get("spec", {}).get("ipFamilies") or ():
            return next((family for family in FAMILIES if TITLE[family] == title), None)
        for address in (service.get("spec", {}).get("clusterIP") or "",):
            if address not in {"", "None"}:
                return family_of(address)
    return None


def within(nodes: Iterable[NodeInfo], families: Sequence[Family]) -> tuple[NodeInfo, ...]:
    """Nodes by their addresses in a cluster's families; one that lacks one of them says so.

    Args:
        nodes: As the API describes them.
        families: Of the cluster, the primary one first.
    """
    return tuple(_within(one, families) for one in nodes)


def _within(node: NodeInfo, families: Sequence[Family]) -> NodeInfo:
    lacking = next((family for family in families if not node.address_of(family)), None)
    if lacking is not None:
        return replace(node, address="", lacks=lacking)
    share = next((one for one in node.pod_cidrs if family_of_dial(one) == families[0]), "")
    return replace(node, address=node.address_of(families[0]), pod_cidr=share or node.pod_cidr)
