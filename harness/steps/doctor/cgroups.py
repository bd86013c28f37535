"""What doctor asks of control groups: kubelet needs controllers, and a cluster groups that it can make and fill."""

from __future__ import annotations

import errno
import os

from harness.providers.namespaces import cgroups
from harness.steps.doctor.model import Answer, Plan, Question

CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
"""Without these kubelet does not start."""

_MAKE_ROOM = (
    "move its processes into their own group: mkdir {0}/init; "
    "for pid in $(cat {0}/cgroup.procs); do echo $pid >{0}/init/cgroup.procs; done"
)


def mounted(plan: Plan) -> list[cgroups.Hierarchy]:
    """The hierarchies that this process can reach, or its own part of them."""
    return cgroups.hierarchies(plan.host.read("/proc/self/mountinfo"), plan.host.read("/proc/self/cgroup"))


def _cgroup_controllers(plan: Plan) -> Answer:
    found = mounted(plan)
    if not found:
        return Answer(ok=False, detail="no cgroup hierarchy is mounted")
    unified = len(found) == 1 and found[0].unified
    if unified:
        there = set(plan.host.read(str(found[0].path / "cgroup.controllers")).split())
    else:
        there = {line.split()[0] for line in plan.host.read("/proc/cgroups").splitlines() if line.endswith("\t1")}
    missing = [name for name in CONTROLLERS if name not in there]
    kind = "v2" if unified else "v1 or hybrid"
    return Answer(not missing, f"{kind}, missing: {', '.join(missing)}" if missing else kind)


def _cgroup_write(plan: Plan) -> Answer:
    refused: dict[str, OSError] = {}
    for hierarchy in mounted(plan):
        probe = hierarchy.path / f"cnilab-doctor-{os.getpid()}"
        try:
            probe.mkdir()
            probe.rmdir()
        except OSError as error:
            refused[str(hierarchy.path)] = error
    if not refused:
        return Answer(ok=True, detail="cgroups can be created")
    detail = "; ".join(f"{path}: {error.strerror}" for path, error in refused.items())
    # systemd-nspawn mounts v1 so, and whoever may mount may change that: this mount is the container's own.
    sealed = [path for path, error in refused.items() if error.errno == errno.EROFS]
    return Answer(ok=False, detail=detail, fix="; ".join(f"mount -o remount,rw,bind {path}" for path in sealed))


def _cgroup_delegate(plan: Plan) -> Answer:
    """With cgroup v2 a group that has processes hands no controllers down, but for the machine's root (cgroups(7))."""
    for hierarchy in mounted(plan):
        at = hierarchy.path
        handed = set(plan.host.read(str(at / "cgroup.subtree_control")).split())
        there = set(plan.host.read(str(at / "cgroup.controllers")).split())
        missing = [name for name in CONTROLLERS if name in there - handed]
        # The machine's own root group has no type.
        if hierarchy.unified and missing and plan.host.read(str(at / "cgroup.type")):
            count = len(plan.host.read(str(at / "cgroup.procs")).split())
            if count:
                detail = (
                    f"{at} belongs to a container, has {count} processes, and does not delegate {', '.join(missing)}"
                )
                return Answer(ok=False, detail=detail, fix=_MAKE_ROOM.format(at))
    return Answer(ok=True, detail="controllers can be delegated")


CHECKS: tuple[Question, ...] = (
    Question(
        "cgroup-controllers",
        "cgroup controllers",
        "blocks",
        "kubelet does not start",
        "boot with them enabled: cgroup_enable=memory",
        _cgroup_controllers,
    ),
    Question(
        "cgroup-write",
        "cgroups can be created",
        "blocks",
        "a cluster has no cgroups",
        "in a container: give it a writable /sys/fs/cgroup",
        _cgroup_write,
    ),
    Question(
        "cgroup-delegate",
        "cgroups delegate",
        "blocks",
        "a cluster has no cgroups",
        "move the processes of the container's cgroup into another cgroup",
        _cgroup_delegate,
    ),
)
