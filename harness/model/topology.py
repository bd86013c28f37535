"""The shape of a lab as it was seen: what the report draws."""

from __future__ import annotations

from pydantic import Field

from harness.model.base import Record


class Interface(Record):
    """A link in a network namespace."""

    name: str
    kind: str = Field(default="", description="veth, bridge, vxlan, loopback …")
    mtu: int = 0
    addresses: tuple[str, ...] = Field(default=(), description="With prefix length")
    mac: str = ""
    master: str = ""
    peer: str = Field(default="", description="Name of the other end, for a veth: 'pod-a:eth0'")
    state: str = ""
    vni: int | None = None
    local: str = Field(default="", description="Tunnel source address")
    dst_port: int | None = None


class Place(Record):
    """A pod, or another namespace of its own."""

    name: str
    namespace: str = ""
    ip: str = ""
    host_network: bool = False
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[str, ...] = ()


class TopologyNode(Record):
    """A node with what is on it."""

    name: str
    address: str
    role: str = ""
    pod_cidr: str = ""
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[str, ...] = ()
    fdb: tuple[str, ...] = ()
    pods: tuple[Place, ...] = ()


class Topology(Record):
    """All nodes, the router, and the far host."""

    schema_: int = Field(default=1, alias="schema")
    nodes: tuple[TopologyNode, ...]
    outside: tuple[Place, ...] = Field(default=(), description="router, far")
    underlay_cidr: str = ""
    pod_cidr: str = ""
    service_cidr: str = ""
    encapsulation: str = Field(default="", description="'VXLAN, UDP 8472, VNI 1', or 'none'")
