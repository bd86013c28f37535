"""Which packets a network translates, and which it does not. Pure."""

from __future__ import annotations

from dataclasses import replace

from conformance.hooks import Station
from conformance.netfilter import DNAT, ITSELF, End, Flow
from conformance.path.hop import Trail
from conformance.path.named import of_rule
from conformance.path.places import Place, World


def expected(there: World, trail: Trail, place: Place, station: Station, flow: Flow, end: End) -> None:
    """Note a translation that packets of the model do not get.

    Args:
        there: All places.
        trail: Gets what is wrong.
        place: Whose rule.
        station: Where.
        flow: The packet as it came.
        end: What the rule does.
    """
    found = replace(of_rule(place.name, end, flow, station), deviates=True)
    if end.verdict != DNAT:
        wrong = _sender(there, trail, place, flow, end)
        if wrong:
            trail.wrong(replace(found, kind=wrong))
        return
    inventory = there.context.inventory
    service = next((one for one in inventory.services if one.cluster_ip == flow.dst), None)
    api = inventory.api
    if service is not None:
        if end.to and service.endpoint_ips and end.to not in service.endpoint_ips:
            trail.wrong(replace(found, kind="service.stranger", facts={**found.facts, "service": service.name}))
    elif api is not None and flow.dst == api.cluster_ip:
        if api.endpoints and end.to and not _leads_to(end, flow, api.endpoints):
            trail.wrong(replace(found, kind="service.stranger", facts={**found.facts, "service": "kubernetes"}))
    elif flow.dst == inventory.node_dns and not there.foreign:
        if end.to and not _serves_names(there, end.to):
            trail.wrong(replace(found, kind="service.stranger", facts={**found.facts, "service": "kube-dns"}))
    elif is_pod(there, flow.dst) or (
        not there.foreign  # pods of others may have ports of nodes
        and flow.dst in {node.address for node in inventory.nodes}
        and flow.dport not in node_ports(there)
    ):
        trail.wrong(found)


def _serves_names(there: World, address: str) -> bool:
    """A pod of the cluster's name server has the address."""
    owner = there.holder(address)
    return owner is not None and owner.name.startswith("kube-system/coredns")


def _leads_to(end: End, flow: Flow, endpoints: tuple[str, ...]) -> bool:
    """A translation leads to one of some endpoints; `address:port`, in brackets for IPv6."""
    port = end.port or flow.dport
    return end.to != ITSELF and any(one in {f"{end.to}:{port}", f"[{end.to}]:{port}"} for one in endpoints)


def _sender(there: World, trail: Trail, place: Place, flow: Flow, end: End) -> str:
    """The kind of trouble that another sender is: pods keep theirs, and outwards get one of their node; empty: none."""
    if not is_pod(there, flow.src):
        return ""
    if is_pod(there, flow.dst):
        plain = not _translated(trail, place.name, flow)
        return "rule.masquerades" if plain or (_virtual(there, trail.dialled.dst) and flow.src != flow.dst) else ""
    if end.to and end.to not in place.addresses:
        return "" if there.foreign else "rule.sender"  # gateways for what leaves the cluster have such addresses
    return "rule.one-port" if end.port else ""


def _virtual(there: World, address: str) -> bool:
    return address in {one.cluster_ip for one in there.context.inventory.services}


def node_ports(there: World) -> set[int]:
    """Ports of nodes that lead to Services and pods on purpose."""
    inventory = there.context.inventory
    ports = {port.node_port for service in inventory.services for port in service.ports if port.node_port}
    return ports | {node.host_port for node in inventory.nodes}


def _translated(trail: Trail, place: str, flow: Flow) -> bool:
    """A packet for a Service: what becomes of its sender is for the rules of Services."""
    return any(one.place == place and one.after.dst == flow.dst != one.before.dst for one in trail.changes)


def is_pod(there: World, address: str) -> bool:
    """A pod has the address."""
    holder = there.holder(address)
    return holder is not None and holder.kind == "pod"
