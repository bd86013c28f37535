"""What a run examined: nodes, sites that probe and are probed, and Services. Data only, kept with the observations.

A site is anything with an address that runs a responder or an agent: a pod, a host-network pod, the router, the far
host. Names are short (`a`, `h1`, `router`), because they appear in every leg of every verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final, Literal, Self

from pydantic import Field

from harness.model.base import Record
from harness.model.family import Family, endpoint, family_of_dial, transport_of
from harness.model.wellknown import SUITE_NAMESPACE
from harness.model.world import RESPONDER_PORT

HOST_PORT: Final = 18080
"""The first pod of a node has it for UDP, the second for TCP: one number, two protocols, no clash."""

BOUND_PORT: Final = 18081
"""A host port of one address (hostIP): several pods of a node have it, each for another protocol or address."""

NAMESPACE: Final = SUITE_NAMESPACE
"""The suite's namespace in a lab of ours."""


def first_of(family: Family, addresses: Iterable[str]) -> str:
    """The first address of a family; empty when there is none."""
    return next((one for one in addresses if one not in ("", "None") and family_of_dial(one) == family), "")


SiteKind = Literal["pod", "hostnet", "outside"]


class NodeFact(Record):
    """A node of the cluster."""

    name: str
    address: str = Field(description="InternalIP")
    addresses: tuple[str, ...] = Field(default=(), description="InternalIP of each family, the primary one first")
    pod_cidr: str = Field(default="", description="spec.podCIDR; empty when the variant does not use it")
    pod_cidrs: tuple[str, ...] = Field(default=(), description="spec.podCIDRs, one of each family")
    mtu: int = Field(description="MTU U of the underlay NIC in bytes, read when the run began and frozen since")
    host_port: int = Field(default=HOST_PORT, description="The host port of the suite's pods on it")
    bound_port: int = Field(
        default=0,
        description="Their host port that each of them has for one address of it alone; 0 where there is none",
    )

    def address_of(self, family: Family) -> str:
        """Its InternalIP of a family; empty when it has none."""
        return first_of(family, self.addresses or (self.address,))

    def share(self, family: Family) -> str:
        """Its podCIDR of a family; empty when it has none."""
        return first_of(family, self.pod_cidrs or (self.pod_cidr,))


class Site(Record):
    """A place that probes, or is probed."""

    name: str
    kind: SiteKind
    node: str = Field(default="", description="Empty outside the cluster")
    ip: str = Field(description="Its address in the primary family")
    ips: tuple[str, ...] = Field(default=(), description="Its address in each family, the primary one first")
    port: int = Field(default=RESPONDER_PORT, description="Where its responder listens")
    api_ips: tuple[str, ...] = Field(default=(), description="status.podIPs")
    namespace: str = ""
    pod: str = Field(default="", description="Name of the pod object")
    containers: tuple[str, ...] = ("main",)
    host_veth: str = Field(default="", description="The node's end of the pod's veth pair")

    def address(self, family: Family) -> str:
        """Its address of a family; empty when it has none."""
        return first_of(family, self.ips or (self.ip,))


class ServicePort(Record):
    """A port of a Service."""

    name: str
    proto: Literal["tcp", "udp"]
    port: int
    node_port: int | None = None


class ServiceFact(Record):
    """A Service of the suite, with the endpoints that the API has for it."""

    name: str
    role: str = Field(description="What the suite uses it for: spread, hairpin, empty, headless …")
    namespace: str
    cluster_ip: str = Field(description="'None' for a headless Service, empty for an ExternalName")
    cluster_ips: tuple[str, ...] = Field(default=(), description="One of each family that it has")
    ports: tuple[ServicePort, ...] = ()
    endpoints: tuple[str, ...] = Field(default=(), description="Names of the sites that are ready endpoints")
    endpoint_ips: tuple[str, ...] = ()
    external_name: str = ""

    def port(self, proto: str) -> ServicePort:
        """The first port of that protocol."""
        return next(port for port in self.ports if port.proto == transport_of(proto))

    def virtual(self, family: Family) -> str:
        """Its ClusterIP of a family; empty when it has none."""
        return first_of(family, self.cluster_ips or (self.cluster_ip,))


class ApiServer(Record):
    """The API server as pods find it: the Service `kubernetes` of the namespace `default`."""

    cluster_ip: str = Field(description="Its ClusterIP: it has one family, the cluster's primary one")
    port: int = Field(description="Of the Service")
    endpoints: tuple[str, ...] = Field(default=(), description="Addresses and ports of the API servers themselves")
    ca: str = Field(default="", description="PEM of the authorities that pods trust; empty where it cannot be read")

    @property
    def dial(self) -> str:
        """Address and port of the Service."""
        return endpoint(self.cluster_ip, self.port)


class Inventory(Record):
    """Everything a run may be held against."""

    families: tuple[Family, ...] = Field(default=("ipv4",), description="Of the cluster, the primary one first")
    nodes: tuple[NodeFact, ...]
    sites: tuple[Site, ...]
    services: tuple[ServiceFact, ...] = ()
    environment: dict[str, bool] = Field(
        default_factory=dict, description="Gates that the cluster decides, not the variant: router, cap …"
    )
    reasons: dict[str, str] = Field(
        default_factory=dict, description="Why a gate is closed, where that is no property of the network"
    )
    node_dns: str = Field(default="", description="ClusterIP of the cluster's DNS, as pods are told")
    api: ApiServer | None = Field(default=None, description="None where it may not be read")

    @property
    def family(self) -> Family:
        """The family that is looked at; of the whole, the primary one."""
        return self.families[0]

    @property
    def namespace(self) -> str:
        """Where the suite's pods are."""
        return next((site.namespace for site in self.sites if site.namespace), NAMESPACE)

    @cached_property
    def by_name(self) -> dict[str, Site]:
        """Sites by their name."""
        return {site.name: site for site in self.sites}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, which finds its own sites by their names, and not those of the original."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("by_name", None)
        return copied

    @property
    def pods(self) -> tuple[Site, ...]:
        """Pods with a network namespace of their own, in the order of their names."""
        return tuple(site for site in self.sites if site.kind == "pod")

    @property
    def hosts(self) -> tuple[Site, ...]:
        """Host-network pods: the nodes as pods."""
        return tuple(site for site in self.sites if site.kind == "hostnet")

    @property
    def outside(self) -> tuple[Site, ...]:
        """The router and the far host."""
        return tuple(site for site in self.sites if site.kind == "outside")

    def on(self, node: str) -> tuple[Site, ...]:
        """The pods of one node."""
        return tuple(site for site in self.pods if site.node == node)

    def host(self, node: str) -> Site | None:
        """The host-network pod of one node."""
        return next((site for site in self.hosts if site.node == node), None)

    def node(self, name: str) -> NodeFact:
        """A node by name."""
        return next(node for node in self.nodes if node.name == name)

    def service(self, role: str) -> ServiceFact | None:
        """The Service that plays a role, when it was deployed."""
        return next((service for service in self.services if service.role == role), None)
