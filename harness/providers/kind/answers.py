"""What the answers of a Docker engine mean. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from harness.components.versions import numbers
from harness.errors import CnilabError

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
    """

    id: str
    name: str
    running: bool
    pid: int
    address: IPv4Address | None
    role: str


@dataclass(frozen=True)
class DockerNetwork:
    """A Docker network.

    Args:
        id: The engine's.
        name: Its name.
        subnet: Its addresses.
        mtu: Bytes.
    """

    id: str
    name: str
    subnet: IPv4Network
    mtu: int


class EngineError(CnilabError):
    """The engine refused something."""

    exit_code = 11


def network_of(attrs: Mapping[str, Any]) -> DockerNetwork:
    """A network, as the engine describes it (API 1.41, NetworkInspect)."""
    config = ((attrs.get("IPAM") or {}).get("Config") or [{}])[0]
    options = attrs.get("Options") or {}
    return DockerNetwork(
        attrs["Id"], attrs["Name"], IPv4Network(config.get("Subnet", "0.0.0.0/32")), int(options.get(MTU, 1500))
    )


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
    return Container(
        id=attrs["Id"],
        name=attrs["Name"].lstrip("/"),
        running=bool(state["Running"]),
        pid=int(state.get("Pid", 0)),
        address=IPv4Address(address) if address else None,
        role=labels.get("io.x-k8s.kind.role", ""),
    )


def upper_half(subnet: IPv4Network) -> IPv4Network:
    """Where the engine takes addresses for nodes: the lower half is left to the lab."""
    return list(subnet.subnets())[1]


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
