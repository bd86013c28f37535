"""The spec of a cluster: what a user writes, or what a variant's defaults amount to."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import Field, StringConstraints, model_validator

from harness.model import world
from harness.model.base import Data
from harness.model.family import Address, Family, IpFamily, Range, family_of, other

LAB_NAME: Final = r"^[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?$"
"""A cluster's name: it becomes part of paths, cgroups and host names, hence a short DNS label (RFC 1123 §2.1)."""

KUBERNETES_VERSION: Final = r"^1\.\d{1,2}(\.\d{1,3})?$"
"""A version of Kubernetes: minor or full."""

CNI_VERSION: Final = r"^(\d{1,4}\.\d{1,4}\.\d{1,4}(-[0-9A-Za-z.]{1,40})?)?$"
"""A version of a network, in full; empty for the pinned one."""

BARE: Final = "bare"
"""Stands where a variant's name does, for machines without Kubernetes and without a pod network."""

ALL_LABS: Final = "all"
"""Stands for every lab that the variant can do, the long ones too, where ids of labs are asked for."""

LabName = Annotated[str, StringConstraints(pattern=LAB_NAME)]

MIN_MTU = 576
MAX_MTU = 65535
MIN_IPV6_MTU: Final = 1280
"""A link with a smaller MTU has no IPv6 (RFC 8200 §5)."""

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
    cidr6: IPv6Network = Field(
        default=IPv6Network("fd00:172:18::/64"), description="The same in IPv6, where the cluster has IPv6"
    )
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

    def range(self, family: Family) -> Range:
        """Addresses of the nodes and the router."""
        return self.cidr if family == "ipv4" else self.cidr6


class Pods(Data):
    """Addresses of pods."""

    cidr: IPv4Network = Field(default=IPv4Network("10.244.0.0/16"), description="The cluster CIDR")
    node_mask: Annotated[int, Field(ge=16, le=28)] = Field(
        default=24, alias="nodeMask", description="Prefix length of the podCIDR of each node"
    )
    cidr6: IPv6Network = Field(
        default=IPv6Network("fd00:10:244::/56"), description="The cluster CIDR in IPv6, where the cluster has IPv6"
    )
    node_mask6: Annotated[int, Field(ge=48, le=120)] = Field(
        default=64, alias="nodeMask6", description="Prefix length of the IPv6 podCIDR of each node"
    )

    def range(self, family: Family) -> Range:
        """The cluster CIDR."""
        return self.cidr if family == "ipv4" else self.cidr6

    def mask(self, family: Family) -> int:
        """Prefix length of each node's podCIDR."""
        return self.node_mask if family == "ipv4" else self.node_mask6


class Services(Data):
    """Addresses of Services."""

    cidr: IPv4Network = Field(default=IPv4Network("10.96.0.0/16"), description="The Service range")
    cidr6: IPv6Network = Field(
        default=IPv6Network("fd00:10:96::/112"), description="The Service range in IPv6, where the cluster has IPv6"
    )
    domain: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")] = "cluster.local"

    def range(self, family: Family) -> Range:
        """The Service range."""
        return self.cidr if family == "ipv4" else self.cidr6

    def api_address(self, family: Family) -> Address:
        """ClusterIP of `kubernetes.default`: the range's first address."""
        return self.range(family)[1]

    def dns_address(self, family: Family) -> Address:
        """ClusterIP of the cluster's DNS: by custom the range's tenth address."""
        return self.range(family)[10]


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


KernelArgument = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.,:=/+@%-]{1,200}$")]
"""A word of a kernel's command line (admin-guide/kernel-parameters): no space, no quote."""


LEAST_SERVICES: Final = 256
MOST_SERVICES: Final = 2**20
"""Addresses of a Service range of IPv6: kube-apiserver refuses a larger one."""

WIDEST_SPLIT: Final = 16
"""Bits by which a node's share of IPv6 may be longer than the cluster CIDR (kube-controller-manager, ipam/cidrset)."""

LEAST_UNDERLAY6: Final = 256


def _undecided(described: dict[str, Any]) -> None:
    """A schema's property without its default."""
    described.pop("default", None)


def _overlaps(ranges: Mapping[str, Range]) -> list[str]:
    """Pairs of ranges of one family that share addresses."""
    names = list(ranges)
    return [
        f"{one} {ranges[one]} overlaps {other} {ranges[other]}"
        for i, one in enumerate(names)
        for other in names[i + 1 :]
        if ranges[one].overlaps(ranges[other])
    ]


_RESERVED: Final[Mapping[str, tuple[str, ...]]] = {
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "no address of a host": ("0.0.0.0/8", "240.0.0.0/4"),
}
"""Addresses that no pod, Service or node can have (IANA special-purpose address registries)."""


def _unusable(ranges: Mapping[str, Range], family: Family) -> list[str]:
    """Ranges with addresses that mean something else: to every kernel, or to the outside world of a cluster."""
    found = []
    for name, network in ranges.items():
        whole = ((meaning, ip_network(text)) for meaning, texts in _RESERVED.items() for text in texts)
        meaning = next((word for word, one in whole if one.version == network.version and one.overlaps(network)), "")
        outside = next((one.ip for one in world.addresses(family) if one.ip in network), None)
        if meaning:
            found.append(f"{name} {network} is {meaning}")
        elif outside is not None:
            found.append(f"{name} {network} covers {outside}, an address of the outside world")
    return found


class LabSpec(Data):
    """Everything that decides what a cluster is."""

    name: LabName = "lab"
    provider: Provider = "namespaces"
    kernel: Kernel = Field(
        default="host",
        description="Kernel of the cluster: this machine's, or another one in a VM",
    )
    kernel_arguments: tuple[KernelArgument, ...] = Field(
        default=(),
        alias="kernelArguments",
        description="Words for the command line of that kernel, such as ipv6.disable=1",
    )
    cni: str = Field(default="flannel", description="Name of a CNI variant")
    cni_version: Annotated[str, StringConstraints(pattern=CNI_VERSION)] = Field(
        default="",
        alias="cniVersion",
        description="Full version of the network, from its project's own images. If empty, the pinned one",
    )
    nodes: Annotated[int, Field(ge=1, le=MAX_NODES)] = Field(default=2, description="Number of nodes")
    ip_family: IpFamily = Field(
        default="ipv4",
        alias="ipFamily",
        description="IP families of pods, Services, nodes and the outside world. If empty, both where provider, network"
        " and machine have both",
        # A spec that is read gets what `harness.model.references` decides: no single value is the default.
        json_schema_extra=_undecided,
    )
    primary_family: Family | None = Field(
        default=None, alias="primaryFamily", description="With dual: the family that comes first. If empty, ipv4"
    )
    node_addresses: dict[str, Address] = Field(
        default_factory=dict,
        alias="nodeAddresses",
        description="Name and address of every node, in order. The provider fills this in if it found them",
    )
    second_addresses: dict[str, Address] = Field(
        default_factory=dict,
        alias="secondAddresses",
        description="With dual: the same in the other family. The provider fills this in if it found them",
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
        clashes = [clash for family in self.families for clash in self._of_family(family)]
        if self.primary_family and self.ip_family != "dual":
            clashes.append(
                f"primaryFamily {self.primary_family} has no meaning: ipFamily is {self.ip_family}, not dual"
            )
        clashes += self._of_addresses()
        if "ipv6" in self.families and self.underlay.mtu < MIN_IPV6_MTU:
            clashes.append(f"underlay.mtu {self.underlay.mtu} is too small for IPv6, which needs {MIN_IPV6_MTU} bytes")
        if self.kernel != "host" and self.provider != "namespaces":
            clashes.append(
                f"kernel {self.kernel} needs provider namespaces: provider {self.provider} has its own machines"
            )
        if self.kernel_arguments and self.kernel == "host":
            clashes.append("kernelArguments are for the kernel of a VM: kernel is host, and this machine's kernel runs")
        if clashes:
            raise ValueError("; ".join(clashes))
        return self

    def _of_family(self, family: Family) -> list[str]:
        """What clashes among the ranges of one family."""
        six = "" if family == "ipv4" else "6"
        pods, services, underlay = (part.range(family) for part in (self.pods, self.services, self.underlay))
        mask = self.pods.mask(family)
        ranges = self._ranges(family)
        clashes = _overlaps(ranges)
        if self.provider != "existing":
            clashes += _unusable(ranges, family)
        if mask <= pods.prefixlen and self.nodes > 1:
            clashes.append(f"pods.nodeMask{six} /{mask} does not divide pods.cidr{six} {pods}")
        elif 2 ** (mask - pods.prefixlen) < self.nodes:
            clashes.append(f"pods.cidr{six} {pods} has no /{mask} for each of {self.nodes} nodes")
        elif family == "ipv6" and mask - pods.prefixlen > WIDEST_SPLIT:
            clashes.append(f"pods.nodeMask{six} /{mask} is more than {WIDEST_SPLIT} bits longer than {pods}")
        if underlay.num_addresses < (self.nodes + 16 if family == "ipv4" else LEAST_UNDERLAY6):
            clashes.append(f"underlay.cidr{six} {underlay} is too small for {self.nodes} nodes")
        if services.num_addresses < LEAST_SERVICES:
            clashes.append(f"services.cidr{six} {services} is smaller than a /{services.max_prefixlen - 8}")
        if family == "ipv6" and services.num_addresses > MOST_SERVICES:
            clashes.append(f"services.cidr{six} {services} is larger than a /{services.max_prefixlen - 20}")
        return clashes

    def _of_addresses(self) -> list[str]:
        """What is wrong with addresses of nodes that were given."""
        given = {"nodeAddresses": self.node_addresses, "secondAddresses": self.second_addresses}
        clashes = [
            f"{field}.{name} {address} is no {family} address"
            for (field, addresses), family in zip(given.items(), self.families, strict=False)
            for name, address in addresses.items()
            if family_of(address) != family
        ]
        if self.second_addresses and len(self.families) == 1:
            clashes.append(f"secondAddresses has no meaning: ipFamily is {self.ip_family}, not dual")
        elif len(self.families) > 1 and set(self.second_addresses) != set(self.node_addresses):
            clashes.append("secondAddresses does not have the same nodes as nodeAddresses")
        return clashes

    def _ranges(self, family: Family) -> Mapping[str, Range]:
        six = "" if family == "ipv4" else "6"
        ranges: dict[str, Range] = {
            f"pods.cidr{six}": self.pods.range(family),
            f"services.cidr{six}": self.services.range(family),
            f"underlay.cidr{six}": self.underlay.range(family),
        }
        if self.underlay.dual_homed and family == "ipv4":
            ranges["underlay.managementCidr"] = self.underlay.management_cidr
        return ranges

    @property
    def families(self) -> tuple[Family, ...]:
        """IP families of the cluster, the primary one first."""
        if self.ip_family != "dual":
            return (self.ip_family,)
        first = self.primary_family or "ipv4"
        return first, other(first)

    @property
    def primary(self) -> Family:
        """The family of a pod's `podIP`, of a node's first address, and of Services that do not ask."""
        return self.families[0]

    @property
    def pod_cidrs(self) -> tuple[Range, ...]:
        """The cluster CIDRs, that of the primary family first."""
        return tuple(map(self.pods.range, self.families))

    @property
    def service_cidrs(self) -> tuple[Range, ...]:
        """The Service ranges, that of the primary family first."""
        return tuple(map(self.services.range, self.families))

    @property
    def underlay_cidrs(self) -> tuple[Range, ...]:
        """Ranges of the nodes and the router, that of the primary family first."""
        return tuple(map(self.underlay.range, self.families))

    @property
    def node_names(self) -> tuple[str, ...]:
        """`n1`, `n2`, …; the control plane runs in the first."""
        if self.node_addresses:
            return tuple(self.node_addresses)
        return tuple(f"n{index}" for index in range(1, self.nodes + 1))

    @property
    def router_address(self) -> Address:
        """The nodes' default gateway, in the primary family."""
        return self.router(self.primary)

    def router(self, family: Family) -> Address:
        """The nodes' default gateway."""
        return self.underlay.range(family)[1]

    def node_address(self, name: str, family: Family | None = None) -> Address:
        """A node's address on the underlay: network + 10 + its number.

        In IPv6 the digits are the same, as in fd00:172:18::11 beside 172.18.0.11.

        Args:
            name: Of the node.
            family: None: the primary one.

        Raises:
            KeyError: The node has no address of this family.
        """
        second = family is not None and family != self.primary
        if self.node_addresses:
            return (self.second_addresses if second else self.node_addresses)[name]
        number = 10 + int(name.removeprefix("n"))
        if (family or self.primary) == "ipv4":
            return self.underlay.cidr[number]
        return IPv6Address(int(self.underlay.cidr6.network_address) + int(str(number), 16))

    def all_addresses(self, name: str) -> tuple[Address, ...]:
        """A node's addresses on the underlay, that of the primary family first."""
        return tuple(self.node_address(name, family) for family in self.families)

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
