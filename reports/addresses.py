"""Whose address is it? Looks up IP and MAC addresses in the topology of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.model.family import Family, family_of_dial
from harness.model.topology import Interface, Place, Topology
from harness.model.wellknown import POLICY_NAMESPACES, SUITE_NAMESPACE


def bare(address: str) -> str:
    """`10.244.0.2` of `10.244.0.2/24`."""
    return address.partition("/")[0]


def seconds(address: str, interfaces: Iterable[Interface]) -> list[str]:
    """Addresses of the other family on the link that has an address: what a machine of two families has beside it."""
    there = next((link.addresses for link in interfaces if address in map(bare, link.addresses)), ())
    others = [bare(one) for one in there if family_of_dial(bare(one)) != family_of_dial(address)]
    return [one for one in others if not one.startswith("fe80:")]


def pod_names(pods: Iterable[Place]) -> dict[tuple[str, str], str]:
    """What pods are called, by namespace and name: `a`; where several have that name, all but the suite's own `x/a`."""
    listed = sorted(pods, key=lambda pod: pod.namespace != SUITE_NAMESPACE)
    first: dict[str, Place] = {}
    for pod in listed:
        first.setdefault(pod.name, pod)
    return {
        (pod.namespace, pod.name): pod.name
        if first[pod.name] is pod
        else f"{pod.namespace.removeprefix(POLICY_NAMESPACES)}/{pod.name}"
        for pod in listed
    }


class Owners:
    """Names for addresses.

    Args:
        topology: The lab as it was seen; None knows nobody.
    """

    def __init__(self, topology: Topology | None) -> None:
        self._ip: dict[str, str] = {}
        self._mac: dict[str, str] = {}
        self.node_of_pod: dict[str, str] = {}
        self.pod_addresses: dict[str, str] = {}
        self.node_addresses: dict[str, str] = {}
        if topology is None:
            return
        for node in topology.nodes:
            self.node_addresses[node.address] = node.name
            for address in seconds(node.address, node.interfaces):
                self.node_addresses.setdefault(address, node.name)
        self._learn_interfaces(topology)
        self._learn_pods(topology)

    def _learn_interfaces(self, topology: Topology) -> None:
        for who, interface in _interfaces(topology):
            if interface.mac and interface.kind != "loopback":
                self._mac.setdefault(interface.mac.lower(), f"{who} {interface.name}")
            for address in interface.addresses:
                if not address.startswith(("127.", "::1", "fe80:")):
                    self._ip.setdefault(bare(address), f"{who} {interface.name}")

    def _learn_pods(self, topology: Topology) -> None:
        named = pod_names(pod for node in topology.nodes for pod in node.pods)
        for node in topology.nodes:
            for pod in node.pods:
                name = named[pod.namespace, pod.name]
                self.node_of_pod.setdefault(name, node.name)
                if pod.ip and not pod.host_network:
                    for address in (pod.ip, *seconds(pod.ip, pod.interfaces)):
                        self.pod_addresses.setdefault(address, name)
                        self._ip[address] = f"pod {name} on {node.name}"

    def ip(self, address: str) -> str:
        """`pod a on n1`, `n1 eth0`, or empty."""
        return self._ip.get(bare(address), "")

    def address_of(self, name: str, family: Family | None = None) -> str:
        """The address of a pod or a node, or empty.

        Args:
            name: Of the pod or the node.
            family: Of the address; None: the primary one.
        """
        for addresses in (self.pod_addresses, self.node_addresses):
            for address, who in addresses.items():
                if who == name and family in (None, family_of_dial(address)):
                    return address
        return ""

    def mac(self, address: str) -> str:
        """`n1 flannel.1`, or empty."""
        if address.lower() == "ff:ff:ff:ff:ff:ff":
            return "everyone"
        return self._mac.get(address.lower(), "")

    def classify(self, address: str) -> str:
        """What kind of address a far end saw: `pod a`, `node n1`, `n1 flannel.1`, or the bare address."""
        if address in self.pod_addresses:
            return f"pod {self.pod_addresses[address]}"
        if address in self.node_addresses:
            return f"node {self.node_addresses[address]}"
        return self.ip(address)


def _interfaces(topology: Topology) -> Iterator[tuple[str, Interface]]:
    for node in topology.nodes:
        for interface in node.interfaces:
            yield node.name, interface
        for pod in node.pods:
            if not pod.host_network:
                for interface in pod.interfaces:
                    yield f"pod {pod.name}", interface
    for place in topology.outside:
        for interface in place.interfaces:
            yield place.name, interface
