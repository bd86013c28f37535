"""What doctor asks of rights, devices and system calls: a machine has all, a container what its manager leaves it."""

from __future__ import annotations

import errno

from harness.steps.doctor.cgroups import mounted
from harness.steps.doctor.model import Answer, Plan, Question

PRIVILEGED = "in a container: docker run --privileged, systemd-nspawn --capability=all"

UNFILTERED = "in a container: docker run --privileged, systemd-nspawn --system-call-filter='bpf @keyring'"

_BITS = {
    "SYS_ADMIN": 21,
    "NET_ADMIN": 12,
    "NET_RAW": 13,
    "SYS_CHROOT": 18,
    "SYS_PTRACE": 19,
    "MKNOD": 27,
    "SYS_RESOURCE": 24,
}
_NEEDED = ("SYS_ADMIN", "NET_ADMIN", "NET_RAW", "SYS_CHROOT", "SYS_PTRACE", "MKNOD")

_MAKE_KMSG = "mount -t tmpfs tmpfs /mnt && mknod -m 600 /mnt/kmsg c 1 11 && dd if=/mnt/kmsg of=/dev/null count=0"


def holds(plan: Plan, capability: str) -> bool:
    """Whether we have a capability, `NET_ADMIN` say (capabilities(7))."""
    return bool(plan.host.capabilities() >> _BITS[capability] & 1)


def _capabilities(plan: Plan) -> Answer:
    missing = [f"CAP_{name}" for name in _NEEDED if not holds(plan, name)]
    return Answer(not missing, f"missing: {', '.join(missing)}" if missing else "all that a cluster needs")


def _sys_resource(plan: Plan) -> Answer:
    held = holds(plan, "SYS_RESOURCE")
    return Answer(held, "held" if held else "missing")


def _kmsg(plan: Plan) -> Answer:
    if plan.host.exists("/dev/kmsg"):
        done, there = plan.host.run(["dd", "if=/dev/kmsg", "of=/dev/null", "count=0"]), "can be read"
    else:
        # As nodeinit makes one for a node.
        done, there = plan.host.unshared(["sh", "-c", _MAKE_KMSG]), "nodes get their own"
    return Answer(done.ok, there if done.ok else done.tail(1))


def filtered(plan: Plan, *calls: str) -> list[str]:
    """Those of the system calls that somebody keeps from us (seccomp(2))."""
    return [name for name in calls if plan.host.call(name) == errno.EPERM]


def _calls(plan: Plan) -> Answer:
    # Of cgroup v2 devices are a program's business; version 1 has files for them.
    unified = all(hierarchy.unified for hierarchy in mounted(plan))
    refused = filtered(plan, "keyctl", *(("bpf",) if unified else ()))
    return Answer(not refused, f"refused: {', '.join(refused)}" if refused else "runc may make all that it needs")


CAPABILITIES: tuple[Question, ...] = (
    Question(
        "capabilities",
        "capabilities",
        "blocks",
        "namespaces, links or mounts cannot be created",
        PRIVILEGED,
        _capabilities,
    ),
    Question(
        "cap-sys-resource",
        "CAP_SYS_RESOURCE",
        "info",
        "containers cannot get a lower oom_score_adj; clusters work, with restrict_oom_score_adj",
        "not needed",
        _sys_resource,
    ),
)

OTHER: tuple[Question, ...] = (
    Question(
        "kmsg",
        "kernel's log",
        "blocks",
        "kubelet does not start",
        "in a container: systemd-nspawn --bind=/dev/kmsg, docker run --device=/dev/kmsg",
        _kmsg,
    ),
    Question("calls", "system calls", "blocks", "runc starts no container", UNFILTERED, _calls),
)
