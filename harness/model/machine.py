"""A machine as the cluster wants it, before any provider makes it: programs, files, settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MACHINE_WIDE = (
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
    "/proc/sys/kernel/timer_migration",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/kernel/keys/root_maxkeys",
    "/proc/sys/kernel/keys/root_maxbytes",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/panic_on_oom",
)
"""Settings of the whole machine that kubelet (pkg/kubelet/cm, setupKernelTunables) and cilium's agent
(pkg/datapath/loader, Reinitialize) write: nodes that share a kernel get private stand-ins."""


@dataclass(frozen=True)
class Service:
    """A program that the machine keeps running.

    Args:
        name: Unique on the machine; names its log.
        argv: Program and arguments; programs of the lab are on the machine's PATH.
        wait: `unix:/path` or `tcp:host:port`, each of which must take a connection before the start.
        env: Variables of its environment, beside PATH and HOME.
    """

    name: str
    argv: tuple[str, ...]
    wait: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class File:
    """A file of the machine.

    Args:
        content: Text.
        mode: Permission bits; 0600 for anything with a key in it.
    """

    content: str
    mode: int = 0o644


@dataclass(frozen=True)
class Machine:
    """What a node shall be.

    Args:
        name: Kubernetes node name and host name.
        files: Absolute path to file. Those below `/etc/kubernetes` are this machine's own credentials.
        services: In no order; each starts when its conditions are met.
        sysctls: Keys with slashes, as below /proc/sys; a leading `?` marks keys that a kernel may lack, and a star
            stands for any interface.
        programs: Whether the machine gets a container runtime and kubelet's directories.
        plugins: Whether it gets CNI plugins, and what they and engines of containers write to.
    """

    name: str
    files: Mapping[str, File] = field(default_factory=dict)
    services: tuple[Service, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    programs: bool = True
    plugins: bool = True
