"""CNI variants as data: what they are, what they promise, and what the suite may expect of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, Literal, get_args

from pydantic import Field

from harness.model.base import Data
from harness.model.family import Family, IpFamily

Gate = Literal[
    "multi", "ctr", "kubelet", "svc", "kp", "kpf", "dns", "np", "nonp", "v6", "dual", "ovl", "fdb",
    "agentfile", "br", "ncidr", "lease", "masq", "nfmasq", "hport", "router", "cap", "cni4", "cni11", "sctp", "dis",
    "node", "hosts", "known", "ranges", "neigh", "verbs", "slices", "policies", "api",
    "agent", "bare", "hostip",
]  # fmt: skip
"""Gates of conformance checks; `docs/conformance.md` explains each."""

Driver = Literal[
    "bridge",
    "cilium",
    "flannel",
    "weave",
    "generic",
    "none",
]
"""Who makes the network: names of folders of `harness/cni`; `generic` is one that somebody else made, and `none` is of
machines without Kubernetes.

To name a network here is what registers it.
"""

DRIVERS: Final = tuple(driver for driver in get_args(Driver) if driver not in {"generic", "none"})
"""Those that this program can bring up."""

WireKind = Literal["plain", "vxlan", "geneve", "wireguard", "ipip", "esp"]
"""How a packet between nodes looks on the underlay."""

Masquerader = Literal["flannel-iptables", "flannel-nftables", "bridge-rule", "bpf", "iptables", "none"]
"""Who gives a pod's packet a node's address on its way out."""


Need = Literal["bpf", "vxlan", "geneve", "wireguard", "esp", "ipset", "dummy", "weave-images"]
"""What a variant needs of the kernel beyond what every lab does: ids of doctor's checks."""


class Wire(Data):
    """How a packet between nodes looks on the underlay."""

    kind: WireKind
    port: int | None = Field(default=None, description="UDP destination port of the encapsulation")
    vni: int | None = Field(default=None, description="Network identifier, where it is fixed")
    over: Literal["same", "one"] = Field(
        default="same",
        description="Family of the outer header: that of the pod's packet, or one for all, IPv4 where nodes have it",
    )

    def outer(self, family: Family, there: Collection[Family]) -> Family:
        """Family of the outer header.

        Args:
            family: Of the pod's packet.
            there: Those of the cluster.
        """
        return "ipv4" if self.over == "one" and "ipv4" in there else family

    @property
    def encrypted(self) -> bool:
        """What the tunnel carries cannot be read on the underlay."""
        return self.kind in {"wireguard", "esp"}


class Hops(Data):
    """IP TTL at the receiving pod when the sender uses 64."""

    same_node: int | None = Field(alias="sameNode", description="null: recorded, not asserted")
    cross_node: int | None = Field(alias="crossNode", description="null: recorded, not asserted")


class AgentNotes(Data):
    """What a network's agent writes of a node, and where: a file that plugins read, and annotations for other nodes."""

    file: str = Field(description="Path of a file with lines `KEY=value`")
    network: str = Field(description="Its key with the cluster CIDR")
    share: str = Field(description="Its key with the first address of the node's podCIDR, and the prefix length")
    mtu: str | None = Field(description="Its key with the MTU of pods; null: not compared")
    address: str = Field(description="The annotation with the address that others send packets for the node's pods to")
    overwrite: str = Field(description="The annotation by which an administrator says another one")
    tunnel: str = Field(description="The annotation with data of the node's tunnel device, as JSON")
    mac: str = Field(description="In this JSON, the MAC address of the device")


class Expectations(Data):
    """What is true of every healthy cluster of this variant. An empty cell is a load error, not a default."""

    overhead: int = Field(description="Bytes that the encapsulation takes from the underlay's MTU")
    overhead_before: dict[str, int] = Field(
        default_factory=dict,
        alias="overheadBefore",
        description="A version of the network -> the same for the versions before it",
    )
    overhead_on: Literal["interface", "route", "none"] = Field(
        alias="overheadOn", description="Where a pod sees the smaller MTU"
    )
    wire: Wire
    links: tuple[str, ...] = Field(description="Links of every node with pods")
    remote_route: Literal["overlay-onlink", "via-node", "via-host-device", "none"] = Field(
        alias="remoteRoute", description="Form of the routes to other nodes' pod CIDRs"
    )
    overlay_device: str | None = Field(alias="overlayDevice")
    overlay_mtu: int | None = Field(
        default=None, alias="overlayMtu", description="MTU of that device, where it is not what the overlay leaves"
    )
    bridge: str | None = Field(description="The bridge that pods of a node share")
    host_device: str | None = Field(
        default=None, alias="hostDevice", description="Device of the route to the node's own share, where there is one"
    )
    agent: AgentNotes | None = Field(
        default=None, description="What the agent of each node writes, where the gate `agentfile` is declared"
    )
    hops: Hops
    lease_dir: str | None = Field(alias="leaseDir", description="host-local's directory")
    masquerade: Masquerader
    conf_file: str = Field(alias="confFile", description="Name in /etc/cni/net.d")
    conf_version: str = Field(alias="confVersion", description="cniVersion of that file")
    pod_to_node_source: Literal["pod", "node", "record"] = Field(alias="podToNodeSource")
    node_to_pod_source: Literal["gateway", "tunnel", "node", "record"] = Field(alias="nodeToPodSource")
    heal_seconds: dict[str, float] = Field(alias="healSeconds", description="What the agent repairs, within seconds")
    ipv6: dict[str, Any] = Field(
        default_factory=dict,
        description="What of all this is different in IPv6, by the same keys; where one family carries all tunnels, "
        "what is different if that is IPv6",
    )

    def of(self, family: Family) -> Expectations:
        """What is true in one family."""
        if family == "ipv4" or not self.ipv6:
            return self
        plain = self.model_dump(mode="json", by_alias=True, exclude={"ipv6"})
        return Expectations.model_validate({**plain, **self.ipv6})

    def among(self, there: Collection[Family]) -> Expectations:
        """What is true in a cluster of these families: where IPv4 carries all tunnels, nothing is different in IPv6.

        Args:
            there: Families of the cluster.
        """
        carried = self.wire.over == "one" and {"ipv4", "ipv6"} <= set(there)
        return self.model_copy(update={"ipv6": {}}) if carried else self

    def pod_mtu(self, underlay: int) -> int:
        """The largest IP packet of a pod that the underlay carries after encapsulation, in bytes.

        Args:
            underlay: MTU of the underlay, in bytes.
        """
        return underlay - self.overhead

    def link_mtu(self, underlay: int) -> int:
        """MTU of a pod's own link, in bytes: the same, unless the network puts the smaller value on the route.

        Args:
            underlay: MTU of the underlay, in bytes.
        """
        return self.pod_mtu(underlay) if self.overhead_on == "interface" else underlay


class Variant(Data):
    """One way to give a cluster its pod network."""

    name: str
    title: str
    driver: Driver
    summary: str
    gates: tuple[Gate, ...] = Field(description="Features that the variant declares")
    needs: tuple[Need, ...] = Field(default=(), description="Without these the variant cannot come up on a machine")
    defaults: dict[str, Any] = Field(
        default_factory=dict, description="Fields of a spec, by path, that have another default when it is named alone"
    )
    families: tuple[Family, ...] = Field(default=("ipv4",), description="IP families that it can give to pods")
    usual: IpFamily = Field(
        default="ipv4",
        description="IP families of a cluster that asks for none, on a provider that has as much unasked",
    )
    values: dict[str, Any] = Field(default_factory=dict, description="What its manifests are rendered with")
    expect: Expectations
    deviations: dict[str, str] = Field(
        default_factory=dict,
        description="Requirement id -> why this variant is known not to meet it: it is then recorded, not judged",
    )
    workloads: tuple[str, ...] = Field(
        default=(),
        description="namespace/kind/name of what must be rolled out, as kube-flannel/daemonset/kube-flannel-ds",
    )

    def among(self, there: Collection[Family]) -> Variant:
        """The variant, with what is true of it in a cluster of these families."""
        expect = self.expect.among(there)
        return self if expect is self.expect else self.model_copy(update={"expect": expect})

    @property
    def kubernetes(self) -> bool:
        """There is a cluster on the machines."""
        return self.driver != "none"

    @property
    def kube_proxy(self) -> bool:
        """Nodes run kube-proxy, unless the variant does its work."""
        return "kpf" not in self.gates
