"""What a node has that a pod network may have made: links, routes, rules, filters, eBPF, files.

An inventory is data. What belongs to whom, and what is left over, is decided from it and never from the node.
"""

from __future__ import annotations

from pydantic import Field

from harness.model.base import Record


class Link(Record):
    """A network interface."""

    name: str
    kind: str = Field(default="", description="veth, bridge, vxlan …; empty: a physical one or loopback")


class Route(Record):
    """A route that somebody set; those of the table `local` the kernel keeps by itself."""

    dst: str = Field(description="Prefix, or `default`")
    dev: str = ""
    via: str = ""
    table: str = "main"
    protocol: str = ""
    family: str = "inet"


class PolicyRule(Record):
    """A rule that chooses a routing table (ip-rule(8))."""

    priority: int
    text: str = Field(description="All of it, as ip(8) prints it")
    family: str = "inet"


class Neighbour(Record):
    """An entry that a program set: permanent, or learned outside of the kernel."""

    dst: str
    dev: str


class Program(Record):
    """An eBPF program that is attached."""

    id: int
    name: str
    place: str = Field(description="`tc eth0 clsact/ingress`, `xdp eth0`, `cgroup cgroup_inet4_connect`")
    dev: str = ""


class NetState(Record):
    """One node's inventory."""

    node: str
    links: tuple[Link, ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[PolicyRule, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    firewall: dict[str, str] = Field(
        default_factory=dict, description="Program to what `<program>-save` prints, without counters"
    )
    tables: tuple[str, ...] = Field(default=(), description="nftables: family and name")
    sets: tuple[str, ...] = Field(default=(), description="Names of IP sets")
    transforms: tuple[str, ...] = Field(default=(), description="IPsec: heads of states and policies")
    programs: tuple[Program, ...] = ()
    pins: tuple[str, ...] = Field(default=(), description="Paths below /sys/fs/bpf")
    files: tuple[str, ...] = Field(default=(), description="CNI configuration, plugins, leases, state below /run")
    pods: tuple[str, ...] = Field(
        default=(), description="namespace/name of running sandboxes with a network of their own"
    )
    agents: tuple[str, ...] = Field(default=(), description="namespace/name of running sandboxes in the node's network")
    processes: tuple[str, ...] = Field(default=(), description="Names of services that run, of those that matter")
