"""From a leg to the packet that it is about: who sends it, to whom, over what. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from conformance.context import Context
from conformance.families import SUFFIX, family_of_leg
from conformance.flows import outside
from conformance.inventory import ServiceFact, Site
from conformance.maths import split_endpoint
from conformance.netfilter import Flow
from conformance.plan import API
from harness.model.family import Family, family_of_dial, transport_of

_PAIR: Final = re.compile(r"^([a-z0-9-]+)>([a-z0-9-]+)(?:@([a-z0-9-]+))?(?:/(.*))?$")
_QUESTION: Final = re.compile(r"^([a-z0-9-]+)\?.*?(?:/(udp|tcp))?(?:/edns)?$")
_BETWEEN: Final = re.compile(r"^[a-z0-9-]+:[^/]+/([a-z0-9-]+)<>([a-z0-9-]+)$")
_NOWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - nobody binds to it here
DNS_PORT: Final = 53
PROTOCOLS: Final = ("tcp", "udp", "icmp")


@dataclass(frozen=True)
class Asked:
    """What a leg asks of the network.

    Args:
        source: Place that sends: a pod, a node, the router.
        target: Name of the other end, as the leg has it.
        family: Over which family.
        flow: The packet.
        prefer: Endpoint to which a Service is to lead; empty: any.
        error: The ICMP message by which a router is to answer; empty: none.
        refused: It is to be refused.
    """

    source: str
    target: str
    family: Family
    flow: Flow
    prefer: str = ""
    error: str = ""
    refused: bool = False


OTHERWISE: Final = frozenset({"mtu.plus-one"})
"""Checks of packets that are not to leave."""

REFUSED: Final = frozenset({"svc.no-endpoints"})
"""Checks of packets that are to be refused."""

LARGE: Final = frozenset({"mtu.payload", "model.integrity", "mtu.pmtud"})
"""Checks whose packets are as large as a pod can send them."""


def asked(context: Context, check: str, leg: str) -> Iterator[Asked]:
    """Packets that a leg is about; none for a leg about the state of something.

    Args:
        context: The run.
        check: Its requirement.
        leg: Its name.
    """
    if check in OTHERWISE or check.startswith("np."):
        return
    family: Family = "ipv6" if check.startswith("v6.") else family_of_leg(leg)
    if family not in context.inventory.families:
        return
    for one in _packets(context, family, leg):
        flow = one.flow
        if check in LARGE:
            flow = replace(flow, length=max(flow.length, _largest(context.of(family))))
        error = _TOO_BIG[family] if check == "mtu.pmtud" else ""
        yield replace(one, flow=flow, error=error, refused=check in REFUSED)


_TOO_BIG: Final[dict[Family, str]] = {"ipv4": "destination-unreachable", "ipv6": "packet-too-big"}


def _largest(there: Context) -> int:
    """The largest packet that pods may send."""
    return min(there.effective(node.name) for node in there.inventory.nodes)


def _packets(context: Context, family: Family, leg: str) -> Iterator[Asked]:
    there, text = context.of(family), leg.removesuffix(SUFFIX)
    if found := _BETWEEN.match(text):
        for source, target in ((found[1], found[2]), (found[2], found[1])):
            yield from _to(there, source, (target, ""), ["tcp"], family)
    elif found := _QUESTION.match(text):
        yield from _to_dns(context, found[1], found[2] or "udp")
    elif found := _PAIR.match(text):
        source, target, node, more = found.groups()
        yield from _to(there, source, (target, node or ""), (more or "").split("@", maxsplit=1)[0].split("/"), family)


def _sender(there: Context, name: str) -> tuple[str, str] | None:
    """The place of a site, and its address: a host-network pod is its node."""
    site = there.inventory.by_name.get(name)
    if site is None:
        return (name, "") if any(node.name == name for node in there.inventory.nodes) else None
    return (site.node, "") if site.kind == "hostnet" else (site.name, site.ip if site.kind == "pod" else "")


def _to_dns(context: Context, source: str, proto: str) -> Iterator[Asked]:
    """A question to the name server: it has an address of the primary family, whatever it is asked for."""
    server = context.inventory.node_dns
    if not server:
        return
    family = family_of_dial(server)
    sender = _sender(context.of(family), source)
    if sender is not None:
        yield Asked(sender[0], "DNS", family, Flow(sender[1], server, proto=proto, dport=DNS_PORT))


def _to(there: Context, source: str, target: tuple[str, str], words: list[str], family: Family) -> Iterator[Asked]:
    """From a site to a site, a Service, a node's port, or the outside."""
    sender = _sender(there, source)
    if sender is None:
        return
    name, node = target
    proto = next((word for word in words if word in PROTOCOLS), "udp" if words and words[0].isdigit() else "tcp")
    numbers = [int(word) for word in words if word.isdigit()]
    size = numbers[0] if numbers and words[0] not in PROTOCOLS else 0
    port = numbers[0] if numbers and words[0] in {"tcp", "udp"} and numbers[0] < 65536 else 0
    dialled = list(_dialled(there, source, (f"{name}@{node}" if node else name, proto), port))
    for address, dport, prefer in dialled or _ends(there, name, node, proto):
        flow = Flow(sender[1], address, proto=proto, dport=port if port and not node and not dialled else dport)
        if size:
            flow = Flow(sender[1], address, proto=proto, dport=dport, length=size)
        yield Asked(sender[0], f"{name}@{node}" if node else name, family, flow, prefer)


def _dialled(there: Context, source: str, target: tuple[str, str], wanted: int) -> Iterator[tuple[str, int, str]]:
    """What probes have dialled from one site to another, where they have; to a Service once for each endpoint.

    Args:
        there: The run, for one family.
        source: Name of the sender.
        target: Name of the other end, and the protocol.
        wanted: Port that the leg names; 0: none.
    """
    known: dict[tuple[str, str, str], dict[str, None]] = there.memo.get("dialled") or {}
    if not known:
        for group in there.exchanges.values():
            for one in group:
                if one.dial and not one.dial.startswith("*"):
                    known.setdefault((one.src, one.dst, transport_of(one.proto)), {})[one.dial] = None
        there.memo["dialled"] = known
    virtual = {one.cluster_ip: one for one in there.inventory.services}
    dials = [split_endpoint(dial) for dial in known.get((source, *target), ())]
    meant = [one for one in dials if one[0] not in _NOWHERE and wanted in {0, one[1]}]
    for address, port in meant[:3]:
        service = virtual.get(address)
        for prefer in (service.endpoint_ips or ("",))[:4] if service is not None else ("",):
            yield address, port, prefer


def _ends(there: Context, name: str, node: str, proto: str) -> Iterator[tuple[str, int, str]]:
    """Addresses and ports of what a leg names."""
    inventory = there.inventory
    if node:
        address = inventory.node(node).address if any(one.name == node for one in inventory.nodes) else ""
        yield from ((address, port, "") for port in _node_ports(there, name, node, proto) if address)
    elif site := inventory.by_name.get(name):
        yield from _of_site(site)
    elif name == "localhost":
        yield {"ipv4": "127.0.0.1", "ipv6": "::1"}[there.family], 8080, ""
    elif any(one.name == name for one in inventory.nodes):
        yield inventory.node(name).address, 8080, ""
    elif name == API and inventory.api is not None:
        yield inventory.api.cluster_ip, inventory.api.port, ""
    elif service := next((one for one in inventory.services if one.name == name), None):
        yield from _of_service(service, proto)
    elif name in {"public", "neighbour", "behind"}:
        yield outside(there.family)[("public", "neighbour", "behind").index(name)], 8080, ""


def _of_site(site: Site) -> Iterator[tuple[str, int, str]]:
    if site.ip:
        yield site.ip, site.port, ""


def _of_service(service: ServiceFact, proto: str) -> Iterator[tuple[str, int, str]]:
    """Every endpoint, as each may be the one that is not reached."""
    if service.cluster_ip in {"", "None"}:
        return
    port = next((one.port for one in service.ports if one.proto == proto), 0)
    for endpoint in (service.endpoint_ips or ("",))[:4] if port else ():
        yield service.cluster_ip, port, endpoint


def _node_ports(there: Context, name: str, node: str, proto: str) -> Iterator[int]:
    if name == "hostport":
        yield there.inventory.node(node).host_port
    for service in there.inventory.services:
        if service.name == name:
            yield from (port.node_port for port in service.ports if port.proto == proto and port.node_port)
