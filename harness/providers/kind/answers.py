"""What the answers of a Docker engine mean. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any, Final

from harness.components.versions import numbers
from harness.errors import CnilabError
from harness.model.family import Address, Family, Range

OLDEST = (20, 10)
"""kind asks for a cgroup namespace of a node's own, which engines have since 20.10 (API 1.41)."""

KNOWS_BPF = (23, 0)
"""What the engine does not know it cannot give to kind's privileged nodes: CAP_PERFMON and CAP_BPF are of Linux 5.8,
and no engine of the series 20.10 hands them on."""

LAB = "dev.cnilab.lab"
STATE = "dev.cnilab.state"
KIND = "io.x-k8s.kind.cluster"
"""Labels: of ours, with the lab's name and its state directory's mark; and of kind's nodes."""

MTU = "com.docker.network.driver.mtu"


@dataclass(frozen=True)
class EngineFacts:
    """What an engine says of itself.

    Args:
        version: As `20.10.24`.
        api: Version of its API.
        cgroups: `1` or `2`.
        cgroup_driver: `cgroupfs` or `systemd`.
        rootless: It runs without root.
        podman: It is Podman behind Docker's API.
    """

    version: str
    api: str
    cgroups: str
    cgroup_driver: str
    rootless: bool
    podman: bool

    @property
    def too_old(self) -> bool:
        """Whether kind cannot work with it."""
        return not self.podman and numbers(self.version, 2) < OLDEST

    @property
    def gives_bpf(self) -> bool:
        """Whether agents in its nodes can have CAP_BPF and CAP_PERFMON (capabilities(7))."""
        return self.podman or numbers(self.version, 2) >= KNOWS_BPF

    def __str__(self) -> str:
        """`Docker 20.10.24, cgroup v1 (cgroupfs)`."""
        name = "Podman" if self.podman else "Docker"
        return f"{name} {self.version}, cgroup v{self.cgroups} ({self.cgroup_driver}){', rootless' * self.rootless}"


@dataclass(frozen=True)
class Container:
    """A container of a lab.

    Args:
        id: The engine's.
        name: Also a node's name in Kubernetes.
        running: Whether it runs.
        pid: Its first process, as the engine's machine numbers it.
        address: On the lab's network; None without one.
        role: kind's: `control-plane`, `worker`; empty for others.
        address6: The same in IPv6.
    """

    id: str
    name: str
    running: bool
    pid: int
    address: IPv4Address | None
    role: str
    address6: IPv6Address | None = None

    def address_of(self, family: Family) -> Address | None:
        """On the lab's network; None without one."""
        return self.address if family == "ipv4" else self.address6


@dataclass(frozen=True)
class DockerNetwork:
    """A Docker network.

    Args:
        id: The engine's.
        name: Its name.
        subnet: Its addresses. No network is without: engines before 27 make none of IPv6 alone.
        mtu: Bytes.
        subnet6: Its addresses in IPv6, where it has IPv6.
    """

    id: str
    name: str
    subnet: IPv4Network
    mtu: int
    subnet6: IPv6Network | None = None

    @property
    def subnets(self) -> tuple[Range, ...]:
        """Its addresses in each family that it has."""
        return (self.subnet,) if self.subnet6 is None else (self.subnet, self.subnet6)


class EngineError(CnilabError):
    """The engine refused something."""

    exit_code = 11


def network_of(attrs: Mapping[str, Any]) -> DockerNetwork:
    """A network, as the engine describes it (API 1.41, NetworkInspect)."""
    subnets = subnets_of(attrs)
    four = next((one for one in subnets if isinstance(one, IPv4Network)), IPv4Network("0.0.0.0/32"))
    six = next((one for one in subnets if isinstance(one, IPv6Network)), None)
    options = attrs.get("Options") or {}
    return DockerNetwork(attrs["Id"], attrs["Name"], four, int(options.get(MTU, 1500)), six)


def subnets_of(attrs: Mapping[str, Any]) -> list[Range]:
    """Addresses of a network, as the engine describes it."""
    configs = (attrs.get("IPAM") or {}).get("Config") or ()
    return [ip_network(config["Subnet"]) for config in configs if config.get("Subnet")]


def container_of(attrs: Mapping[str, Any], network: str = "") -> Container:
    """A container, as the engine describes it (API 1.41, ContainerInspect).

    Args:
        attrs: The description.
        network: Whose address counts; empty: any.
    """
    state, labels = attrs["State"], attrs["Config"].get("Labels") or {}
    networks = attrs["NetworkSettings"]["Networks"] or {}
    ends = [networks[network]] if network in networks else list(networks.values())
    address = next((end["IPAddress"] for end in ends if end.get("IPAddress")), "")
    address6 = next((end["GlobalIPv6Address"] for end in ends if end.get("GlobalIPv6Address")), "")
    return Container(
        id=attrs["Id"],
        name=attrs["Name"].lstrip("/"),
        running=bool(state["Running"]),
        pid=int(state.get("Pid", 0)),
        address=IPv4Address(address) if address else None,
        role=labels.get("io.x-k8s.kind.role", ""),
        address6=IPv6Address(address6) if address6 else None,
    )


GATEWAY: Final = 2
"""The bridge's own address, counted from its network's: the first one is left to the lab's router."""

_NODES6: Final = 112
"""Prefix length of what nodes get of a large range of IPv6: engines count its addresses one by one."""


def for_nodes(subnet: Range) -> Range:
    """Where the engine takes addresses for nodes: the lower half is left to the lab, or the lowest part in IPv6."""
    if isinstance(subnet, IPv6Network) and subnet.prefixlen < _NODES6:
        return IPv6Network((int(subnet.network_address) + 2 ** (subnet.max_prefixlen - _NODES6), _NODES6))
    halves: list[Range] = [*subnet.subnets()]
    return halves[1]


def free_range(wanted: Range, taken: Iterable[Range]) -> Range:
    """A range that nobody has: the one that is wanted, or another of its family.

    Raises:
        EngineError: All that the family has for this are taken.
    """
    if isinstance(wanted, IPv4Network):
        fours = [one for one in taken if isinstance(one, IPv4Network)]
        return free_subnet(fours) if any(one.overlaps(wanted) for one in fours) else wanted
    sixes = [one for one in taken if isinstance(one, IPv6Network)]
    others = [IPv6Network(f"fd00:172:{number}::/64") for number in range(18, 50)]
    for candidate in [wanted, *others]:
        if not any(one.overlaps(candidate) for one in sixes):
            return candidate
    msg = "all ranges of IPv6 that networks of nodes get are in use"
    raise EngineError(msg, next_step="run 'docker network prune', or set another spec.underlay.cidr6")


def free_subnet(taken: Iterable[IPv4Network]) -> IPv4Network:
    """A network of Docker's usual ranges that nobody has.

    Raises:
        EngineError: They are all taken.
    """
    known = list(taken)
    for second in range(18, 32):
        candidate = IPv4Network(f"172.{second}.0.0/16")
        # 172.31.1.0/24 is where the router's neighbour is.
        if second != 31 and not any(candidate.overlaps(other) for other in known):
            return candidate
    for third in range(0, 256, 16):
        candidate = IPv4Network(f"192.168.{third}.0/20")
        if not any(candidate.overlaps(other) for other in known):
            return candidate
    msg = "all of Docker's usual ranges are in use"
    raise EngineError(msg, next_step="run 'docker network prune', or set another spec.underlay.cidr")
