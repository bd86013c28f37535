"""Limits that all namespaces of a machine share, and what a lab takes of them.

Two settings are one for the whole kernel, so that many nodes on one machine can exhaust what is ample for one node:
inotify instances (inotify(7): counted per user) and the neighbour table (arp(7): gc_thresh3). A lab never changes a
machine-wide setting unless it was told to, and then puts the old value back when the last lab goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import PreflightError
from harness.model.spec import BARE, LabSpec

INOTIFY = "fs/inotify/max_user_instances"
NEIGHBOURS = "net/ipv4/neigh/default/gc_thresh3"

# Counted on a running lab: kubelet 6, containerd 1, one spare for a CNI agent; API server 6, controller-manager 7,
# scheduler 2.
_INOTIFY_PER_NODE = 8
_INOTIFY_CONTROL_PLANE = 15

# A conformance run starts about three pods per node that all talk to each other, from both ends.
_PODS_PER_NODE = 4


@dataclass(frozen=True)
class Shortage:
    """A limit that is too low for a lab.

    Args:
        key: Below /proc/sys.
        limit: Its value.
        used: What others take of it already.
        needed: What the lab takes.
    """

    key: str
    limit: int
    used: int
    needed: int

    @property
    def target(self) -> int:
        """A value that is enough, with room: the next power of two."""
        return 1 << (self.used + self.needed).bit_length()

    def __str__(self) -> str:
        """`fs.inotify.max_user_instances is 128; 90 are taken and the cluster needs 175`."""
        name = self.key.replace("/", ".")
        return f"{name} is {self.limit}; {self.used} are in use, and the cluster needs about {self.needed}"


def needs(spec: LabSpec) -> dict[str, int]:
    """What a lab takes of each limit; machines without Kubernetes take next to nothing."""
    if spec.cni == BARE:
        return {}
    pods = spec.nodes * _PODS_PER_NODE
    per_node = pods // spec.nodes
    # On a node's bridge every pod knows the gateway and its neighbours, and the node knows its pods and other nodes.
    neighbours = spec.nodes * (per_node * per_node + 2 * per_node + spec.nodes)
    return {INOTIFY: _INOTIFY_CONTROL_PLANE + spec.nodes * _INOTIFY_PER_NODE, NEIGHBOURS: neighbours}


def shortages(spec: LabSpec, limits: Mapping[str, int], used: Mapping[str, int]) -> list[Shortage]:
    """The limits that are too low. Pure.

    Args:
        spec: The lab.
        limits: Current values by key; keys that the kernel lacks are absent.
        used: What is taken already, by key.
    """
    return [
        Shortage(key, limits[key], used.get(key, 0), needed)
        for key, needed in needs(spec).items()
        if key in limits and limits[key] < used.get(key, 0) + needed
    ]


def read(key: str) -> int | None:
    """The machine's value, None when the kernel lacks the setting."""
    try:
        return int(Path("/proc/sys", key).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def inotify_instances() -> int:
    """Inotify instances of all processes that this one may look at."""
    count = 0
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        try:
            links = [str(descriptor.readlink()) for descriptor in descriptors.iterdir()]
        except OSError:
            continue  # ended while we looked
        count += sum(link == "anon_inode:inotify" for link in links)
    return count


def raises(spec: LabSpec, *, allowed: bool) -> dict[str, int]:
    """What must be raised for a lab.

    Args:
        spec: The lab.
        allowed: The user allowed to change machine-wide settings.

    Returns:
        New values by key.

    Raises:
        PreflightError: A limit is too low, and may not be raised.
    """
    limits = {key: value for key in needs(spec) if (value := read(key)) is not None}
    short = shortages(spec, limits, {INOTIFY: inotify_instances()})
    if short and not allowed:
        msg = f"this machine's limits are too low for {spec.nodes} nodes"
        settings = " ".join(f"{one.key.replace('/', '.')}={one.target}" for one in short)
        raise PreflightError(
            msg,
            cause="\n".join(map(str, short)),
            next_step=f"'sysctl -w {settings}', or give --raise-limits: the cluster raises them until it is down",
        )
    return {one.key: one.target for one in short}


def write(key: str, value: int) -> None:
    """Change a machine-wide setting."""
    Path("/proc/sys", key).write_text(str(value), encoding="ascii")
