"""The cluster's shape: which interfaces lie between the wire and the pods, with addresses and MTU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Final

from harness.model.family import TITLE, Family, family_of_dial
from harness.model.topology import Interface, Place, Topology, TopologyNode
from harness.model.wellknown import SUITE_NAMESPACE
from reports.addresses import bare, pod_names, seconds
from reports.model import Diagram, Fact, NodeBox, OutsideBox, PodBox, Station
from reports.text import natural

TUNNELS: Final[Mapping[str, Mapping[Family, int]]] = {
    "vxlan": {"ipv4": 50, "ipv6": 70},
    "geneve": {"ipv4": 50, "ipv6": 70},
    "wireguard": {"ipv4": 60, "ipv6": 80},
}
"""Bytes that a tunnel takes, by the family of its outer header."""

_OVERLAYS = ("vxlan", "geneve", "wireguard", "ipip", "gre")


def diagram(topology: Topology | None, route: tuple[str, ...] = ()) -> Diagram | None:
    """The drawing of a cluster; None without a topology.

    Args:
        topology: As seen by the probes.
        route: Names of the two pods whose traffic is traced.
    """
    if topology is None or not topology.nodes:
        return None
    named = pod_names(pod for node in topology.nodes for pod in node.pods)
    nodes = tuple(_node(node, named) for node in sorted(topology.nodes, key=lambda node: natural(node.name)))
    nic_mtu = min((underlay_mtu(node) for node in topology.nodes if underlay_mtu(node)), default=0)
    plain = topology.encapsulation.strip().lower() in ("", "none", "plain")
    return Diagram(
        nodes=nodes,
        outside=tuple(_outside(place, topology) for place in topology.outside),
        underlay=topology.underlay_cidr,
        underlay_mtu=nic_mtu,
        encapsulation="" if plain else topology.encapsulation,
        overheads=() if plain else _overheads(topology, nodes, nic_mtu),
        route=route,
        ranges=tuple(
            Fact(name, text)
            for name, text in (
                ("nodes", topology.underlay_cidr),
                ("pods", topology.pod_cidr),
                ("Services", topology.service_cidr),
            )
            if text
        ),
    )


def _overheads(topology: Topology, nodes: Iterable[NodeBox], nic_mtu: int) -> tuple[Fact, ...]:
    """What the encapsulation costs: of each tunnel that carries its own family, or what pods' links leave for one."""
    found = overlays(topology.nodes[0])
    if len(found) > 1:
        families = {family_of_dial(link.local): TUNNELS.get(link.kind, {}) for link in found}
        return tuple(Fact(TITLE[family], str(cost[family])) for family, cost in families.items() if family in cost)
    pods = [pod.mtu for node in nodes for pod in node.pods if pod.mtu]
    return (Fact("", str(max(0, nic_mtu - min(pods)))),) if pods and nic_mtu else ()


def nic(node: TopologyNode) -> Interface | None:
    """The interface that has the node's address."""
    return next((link for link in node.interfaces if node.address in map(bare, link.addresses)), None)


def underlay_mtu(node: TopologyNode) -> int:
    """MTU of the node's NIC, in bytes; 0 when unknown."""
    found = nic(node)
    return found.mtu if found else 0


def overlay(node: TopologyNode) -> Interface | None:
    """The tunnel device, if the node has one."""
    return next((link for link in node.interfaces if link.kind in _OVERLAYS), None)


def overlays(node: TopologyNode) -> list[Interface]:
    """The tunnel devices: one, and that of the other family where it has its own."""
    first = overlay(node)
    if first is None:
        return []
    others = (link for link in node.interfaces if link.kind == first.kind and link.local)
    six = [link for link in others if (":" in link.local) != (":" in first.local)]
    return [first, *six[:1]] if first.local else [first]


def bridges(node: TopologyNode) -> list[Interface]:
    """Bridges of the node that have ports or an address."""
    masters = {link.master for link in node.interfaces}
    return [link for link in node.interfaces if link.kind == "bridge" and (link.name in masters or link.addresses)]


def pod_interface(pod: Place) -> Interface | None:
    """The pod's interface that has its address."""
    others = [link for link in pod.interfaces if link.name != "lo"]
    return next((link for link in others if pod.ip in map(bare, link.addresses)), others[0] if others else None)


def _first(addresses: Iterable[str]) -> str:
    shown = [address for address in addresses if not address.startswith("fe80:")]
    return shown[0] if shown else ""


def _beside(address: str, link: Interface) -> str:
    """The address of the other family on a link, with its prefix length; empty when there is none."""
    found = (one for one in link.addresses if (":" in one) != (":" in address) and not one.startswith("fe80:"))
    return next(found, "") if address else ""


def _two(link: Interface, note: str = "") -> tuple[str, int, str, str]:
    """What a station says after its role."""
    address = _first(link.addresses)
    return address, link.mtu, note, _beside(address, link)


def _node(node: TopologyNode, named: Mapping[tuple[str, str], str]) -> NodeBox:
    stations: list[Station] = []
    if wire := nic(node):
        address = next(address for address in wire.addresses if bare(address) == node.address)
        stations.append(Station(wire.name, "nic", address, wire.mtu, second=_beside(address, wire)))
    for tunnel in overlays(node):
        note = f"VNI {tunnel.vni}" if tunnel.vni is not None else tunnel.kind
        stations.append(Station(tunnel.name, "overlay", *_two(tunnel, note=note)))
    found = bridges(node)
    stations += [Station(link.name, "bridge", *_two(link)) for link in found]
    names = {link.name for link in found}
    pods = [_pod(pod, node, names, named[pod.namespace, pod.name]) for pod in node.pods if not pod.host_network]
    return NodeBox(
        name=node.name,
        role=node.role,
        address=node.address,
        pod_cidr=node.pod_cidr,
        stations=tuple(stations),
        pods=tuple(sorted(pods, key=_suite_first)),
        host_pods=tuple(sorted((pod.name for pod in node.pods if pod.host_network), key=natural)),
    )


def _suite_first(pod: PodBox) -> tuple[int, tuple[tuple[int, int, str], ...]]:
    """Pods of the suite, then pods of labs, then those of the system."""
    rank = 0 if pod.namespace == SUITE_NAMESPACE else 2 if pod.namespace.startswith("kube-") else 1
    return rank, natural(pod.name)


def _pod(pod: Place, node: TopologyNode, bridge_names: set[str], name: str) -> PodBox:
    inside = pod_interface(pod)
    ends = [link for link in node.interfaces if _is_peer(link, pod, inside)]
    outside = ends[0] if ends else None
    return PodBox(
        name=name,
        namespace=pod.namespace,
        address=pod.ip,
        mtu=inside.mtu if inside else 0,
        veth=outside.name if outside else (inside.peer.rpartition(":")[2] if inside else ""),
        on_bridge=outside.master in bridge_names if outside else bool(bridge_names),
        second=next(iter(seconds(pod.ip, pod.interfaces)), ""),
    )


def _is_peer(link: Interface, pod: Place, inside: Interface | None) -> bool:
    """Does the node's link end in the pod? Both ends name each other as `place:interface`."""
    if inside is None:
        return False
    if inside.peer:
        return inside.peer.rpartition(":")[2] == link.name
    # Several pods of a node may have one name, in namespaces of their own: only where nothing better is known.
    who, _, name = link.peer.rpartition(":")
    return name == inside.name and who.removeprefix("pod-").rpartition("/")[2] == pod.name


def _outside(place: Place, topology: Topology) -> OutsideBox:
    """The addresses people know the place by; those on the nodes' wire come first."""
    networks = [ip_network(one, strict=False) for one in topology.underlay_cidr.split(", ") if one]
    shown = [
        (address, link)
        for link in place.interfaces
        for address in link.addresses
        if not address.startswith(("127.", "::1", "fe80:"))
    ]

    def on_wire(item: tuple[str, Interface]) -> bool:
        return any(ip_address(bare(item[0])) in network for network in networks)

    ordered = sorted(shown, key=lambda item: not on_wire(item))
    limited = [link.mtu for address, link in ordered if link.mtu and link.name != "lo" and not on_wire((address, link))]
    lines = tuple(bare(address) for address, _ in ordered) or ((place.ip,) if place.ip else ())
    return OutsideBox(place.name, lines, min(limited, default=0))
