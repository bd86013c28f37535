"""The spec of a cluster: what a user writes, or what a variant's defaults amount to."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import Field, StringConstraints, model_validator

from harness.model.base import Data

LAB_NAME: Final = r"^[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?$"
"""A cluster's name: it becomes part of paths, cgroups and host names, hence a short DNS label (RFC 1123 §2.1)."""

KUBERNETES_VERSION: Final = r"^1\.\d{1,2}(\.\d{1,3})?$"
"""A version of Kubernetes: minor or full."""

CNI_VERSION: Final = r"^(\d{1,4}\.\d{1,4}\.\d{1,4}(-[0-9A-Za-z.]{1,40})?)?$"
"""A version of a network, in full; empty for the pinned one."""

ALL_LABS: Final = "all"
"""Stands for every lab that the variant can do, the long ones too, where ids of labs are asked for."""

LabName = Annotated[str, StringConstraints(pattern=LAB_NAME)]

MIN_MTU = 576
MAX_MTU = 65535
MAX_NODES = 20


ProxyMode = Literal["iptables", "nftables", "ipvs"]
"""How kube-proxy programs Services."""


class Kubernetes(Data):
    """Which Kubernetes, and how its Services work."""

    version: Annotated[str, StringConstraints(pattern=KUBERNETES_VERSION)] = Field(
        default="1.37", description="Minor or full version; components.lock says which are pinned"
    )
    proxy_mode: ProxyMode = Field(default="iptables", alias="proxyMode", description="How kube-proxy programs Services")


class Underlay(Data):
    """The wire between the nodes."""

    cidr: IPv4Network = Field(default=IPv4Network("172.18.0.0/16"), description="Addresses of the nodes and the router")
    mtu: Annotated[int, Field(ge=MIN_MTU, le=MAX_MTU)] = Field(
        default=1500, description="MTU in bytes of every node NIC"
    )
    dual_homed: bool = Field(
        default=False,
        alias="dualHomed",
        description="Nodes get a second NIC; eth0 is then the management network, eth1 the cluster's",
    )
    management_cidr: IPv4Network = Field(
        default=IPv4Network("10.0.2.0/24"), alias="managementCidr", description="Addresses of eth0 when dual-homed"
    )
    nic: str = Field(
        default="", description="NIC of the cluster network on every node, if the provider found a different one"
    )


class Pods(Data):
    """Addresses of pods."""

    cidr: IPv4Network = Field(default=IPv4Network("10.244.0.0/16"), description="The cluster CIDR")
    node_mask: Annotated[int, Field(ge=16, le=28)] = Field(
        default=24, alias="nodeMask", description="Prefix length of the podCIDR of each node"
    )


class Services(Data):
    """Addresses of Services."""

    cidr: IPv4Network = Field(default=IPv4Network("10.96.0.0/16"), description="The Service range")
    domain: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")] = "cluster.local"

    @property
    def api_address(self) -> IPv4Address:
        """ClusterIP of `kubernetes.default`: the range's first address."""
        return self.cidr[1]

    @property
    def dns_address(self) -> IPv4Address:
        """ClusterIP of the cluster's DNS: by custom the range's tenth address."""
        return self.cidr[10]


class Vagrant(Data):
    """Virtual machines of the provider vagrant."""

    hypervisor: Literal["virtualbox", "libvirt", "qemu"] = Field(
        default="virtualbox", description="Hypervisor of the machines; qemu is libvirt with emulation in software"
    )
    box: Annotated[str, StringConstraints(pattern=r"^[\w.-]+(/[\w.-]+)?$")] = Field(
        default="debian/bookworm64", description="Name of the box: Debian 12 whose second NIC is named eth1"
    )
    box_version: Annotated[str, StringConstraints(pattern=r"^[\w.]*$")] = Field(
        default="", alias="boxVersion", description="Version of the box; if empty, the newest"
    )
    cpus: Annotated[int, Field(ge=2, le=64)] = Field(
        default=2, description="CPUs of every node. kubeadm requires two. One if the processor is emulated"
    )
    memory: Annotated[int, Field(ge=1700)] = Field(
        default=2048, description="Memory of every node in MiB; kubeadm requires 1700"
    )
    api_port: Annotated[int, Field(ge=1024, le=65535)] = Field(
        default=16443, alias="apiPort", description="Port on the host's loopback that leads to the API server"
    )


Provider = Literal[
    "namespaces",
    "kind",
    "vagrant",
    "existing",
]
"""Who makes the nodes: names of folders of `harness/providers`; `existing` is a cluster that others made.

To name a provider here is what registers it.
"""

PROVIDERS: Final = tuple(name for name in get_args(Provider) if name != "existing")
"""Those that this program can bring up; the first is the default."""


Kernel = Literal["host", "debian"]
"""What a cluster runs under: this machine's kernel, or another in a virtual machine."""


class LabSpec(Data):
    """Everything that decides what a cluster is."""

    name: LabName = "lab"
    provider: Provider = "namespaces"
    kernel: Kernel = Field(
        default="host",
        description="Kernel of the cluster: this machine's, or another one in a VM",
    )
    cni: str = Field(default="flannel", description="Name of a CNI variant")
    cni_version: Annotated[str, StringConstraints(pattern=CNI_VERSION)] = Field(
        default="",
        alias="cniVersion",
        description="Full version of the network, from its project's own images. If empty, the pinned one",
    )
    nodes: Annotated[int, Field(ge=1, le=MAX_NODES)] = Field(default=2, description="Number of nodes")
    node_addresses: dict[str, IPv4Address] = Field(
        default_factory=dict,
        alias="nodeAddresses",
        description="Name and address of every node, in order. The provider fills this in if it found them",
    )
    kubernetes: Kubernetes = Kubernetes()
    underlay: Underlay = Underlay()
    pods: Pods = Pods()
    services: Services = Services()
    vagrant: Vagrant = Vagrant()
    labs: tuple[str, ...] = Field(
        default=(),
        description="Ids of the labs to apply, or 'all'. If empty, all that fit the variant, except the long ones",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.provider == "existing":
            return self  # such a cluster is described, not planned: what clashes in it is a finding
        ranges = {
            "pods.cidr": self.pods.cidr,
            "services.cidr": self.services.cidr,
            "underlay.cidr": self.underlay.cidr,
        }
        if self.underlay.dual_homed:
            ranges["underlay.managementCidr"] = self.underlay.management_cidr
        names = list(ranges)
        clashes = [
            f"{one} {ranges[one]} overlaps {other} {ranges[other]}"
            for i, one in enumerate(names)
            for other in names[i + 1 :]
            if ranges[one].overlaps(ranges[other])
        ]
        if self.pods.node_mask <= self.pods.cidr.prefixlen and self.nodes > 1:
            clashes.append(f"pods.nodeMask /{self.pods.node_mask} does not divide pods.cidr {self.pods.cidr}")
        elif 2 ** (self.pods.node_mask - self.pods.cidr.prefixlen) < self.nodes:
            clashes.append(f"pods.cidr {self.pods.cidr} has no /{self.pods.node_mask} for each of {self.nodes} nodes")
        if self.underlay.cidr.num_addresses < self.nodes + 16:
            clashes.append(f"underlay.cidr {self.underlay.cidr} is too small for {self.nodes} nodes")
        if self.services.cidr.num_addresses < 256:
            clashes.append(f"services.cidr {self.services.cidr} is smaller than a /24")
        if self.kernel != "host" and self.provider != "namespaces":
            clashes.append(
                f"kernel {self.kernel} needs provider namespaces: provider {self.provider} has its own machines"
            )
        if clashes:
            raise ValueError("; ".join(clashes))
        return self

    @property
    def node_names(self) -> tuple[str, ...]:
        """`n1`, `n2`, …; the control plane runs in the first."""
        if self.node_addresses:
            return tuple(self.node_addresses)
        return tuple(f"n{index}" for index in range(1, self.nodes + 1))

    @property
    def router_address(self) -> IPv4Address:
        """The nodes' default gateway."""
        return self.underlay.cidr[1]

    def node_address(self, name: str) -> IPv4Address:
        """A node's address on the underlay: network + 10 + its number."""
        if self.node_addresses:
            return self.node_addresses[name]
        return ipaddress.IPv4Address(int(self.underlay.cidr.network_address) + 10 + int(name.removeprefix("n")))

    @property
    def nics(self) -> tuple[str, ...]:
        """Names of a machine's NICs, where a lab of namespaces makes them."""
        return ("eth0", "eth1") if self.underlay.dual_homed else ("eth0",)

    @property
    def cluster_nic(self) -> str:
        """Name of the NIC that carries pod traffic."""
        second = self.underlay.dual_homed or self.provider == "vagrant"
        return self.underlay.nic or ("eth1" if second else "eth0")

    @property
    def router_nic(self) -> str:
        """Name of the router's NIC on the nodes' network: its first one, unless Vagrant has one before it."""
        return self.cluster_nic if self.provider == "vagrant" else "eth0"
