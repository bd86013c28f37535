"""Running programs in the namespaces of other processes of this machine: nsenter(1), and the cgroup besides."""

from __future__ import annotations

import abc
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from harness.runner import Argv, HostRunner

PROGRAMS = "/opt/cnilab/bin"
ENVIRONMENT = {
    "PATH": f"{PROGRAMS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
_NAMESPACES = ("mnt", "net", "uts", "ipc", "pid", "cgroup")

# nsenter enters namespaces only. A program of a machine must be in its cgroup, too: that is where a pod network without
# kube-proxy turns a Service's address into a pod's, at connect(2). Writing 0 means the process that writes.
_JOIN = ("/bin/sh", "-c", 'echo 0 >"$1" && shift && exec "$@"', "sh")

LEASH: Final = (
    "sh",
    "-c",
    # Standard input is the leash: it ends when the caller wants the program to end, or is gone. An asynchronous list of
    # a shell has no standard input and ignores SIGINT, hence the copy of the descriptor and SIGTERM.
    'exec 3<&0; "$@" </dev/null & child=$!; { cat <&3; kill "$child"; } >/dev/null 2>&1 & wait "$child"',
    "leash",
)
"""Words before a program, on a machine that no signal reaches, that must end when its caller does."""


def joining(process: str) -> tuple[str, ...]:
    """Words before a command that put it into the cgroup of a process (cgroups(7)); none without cgroup v2.

    Args:
        process: Its directory in a proc file system.
    """
    group = unified_group(process)
    return (*_JOIN, f"{group}/cgroup.procs") if group else ()


class EnteringRunner(HostRunner, abc.ABC):
    """Runs programs elsewhere than in this machine's own namespaces: other words come before theirs."""

    @abc.abstractmethod
    def vector(self, argv: Argv, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """See `HostRunner.vector`."""

    def process(self, argv: Argv, env: Mapping[str, str] | None) -> tuple[tuple[str, ...], Mapping[str, str] | None]:
        """See `HostRunner.process`: its variables are among the words, and do not reach what leads there."""
        return self.vector(argv, env), None


class NamespaceRunner(EnteringRunner):
    """Runs programs in the namespaces of a process.

    The PID namespace is always entered: what is started there ends when the machine does.

    Args:
        enter: The words that lead there.
    """

    def __init__(self, enter: Sequence[str]) -> None:
        super().__init__()
        self._enter = tuple(enter)

    def vector(self, argv: Argv, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """See `HostRunner.vector`."""
        # env runs outside: the file system inside may be an image that has nothing but one program.
        return ("/usr/bin/env", "-i", *settings(env), *self._enter, "--", *(os.fspath(word) for word in argv))


def settings(env: Mapping[str, str] | None) -> list[str]:
    """Variables as env(1) takes them: the machine's own, not the caller's, since no lab depends on who runs it."""
    return [f"{key}={value}" for key, value in {**ENVIRONMENT, **(env or {})}.items()]


def root_path(pid: int, path: str) -> str:
    """A path of a machine as this one reaches it: through the root of its init (proc(5), /proc/pid/root).

    Args:
        pid: The init, as this machine numbers it.
        path: Absolute, in there.
    """
    return f"/proc/{pid}/root{path}"


def read_file(pid: int, path: str) -> str:
    """Content of a file of a machine.

    Args:
        pid: Its init, as this machine numbers it.
        path: Absolute, in there.

    Raises:
        OSError: It cannot be read.
    """
    with open(root_path(pid, path), encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - /proc link
        return file.read()


def into_machine(pid: int, netns: str = "") -> NamespaceRunner:
    """Runs programs in all namespaces of a machine's init.

    Args:
        pid: The init, as this machine numbers it.
        netns: Path, in there, of another network namespace to be in instead of the machine's.
    """
    net = (f"--net={root_path(pid, netns)}",) if netns else ()
    return NamespaceRunner((*joining(f"/proc/{pid}"), "nsenter", "-t", str(pid), "-a", *net))


def into_process(process: str) -> NamespaceRunner:
    """Runs programs in all namespaces of a process.

    Args:
        process: Its directory in a proc file system, as this machine reaches it.
    """
    flags = {"mnt": "mount"}
    namespaces = (f"--{flags.get(kind, kind)}={process}/ns/{kind}" for kind in _NAMESPACES)
    return NamespaceRunner((*joining(process), "nsenter", *namespaces))


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup hierarchy.

    Args:
        path: Mount point.
        unified: cgroup v2.
        root: The group that is mounted there. In a container it may be the container's own.
    """

    path: Path
    unified: bool
    root: str = "/"

    def directory(self, group: str) -> Path | None:
        """Where a group is found; None when it is outside of what is mounted.

        Args:
            group: As /proc/PID/cgroup names it.
        """
        inside = group.removeprefix(self.root.rstrip("/"))
        found = inside != group or self.root == "/"
        return self.path / inside.lstrip("/") if found and inside[:1] in {"", "/"} else None


def hierarchies(mountinfo: str, own: str = "") -> list[Hierarchy]:
    """The hierarchies of this machine: several on v1 and hybrid machines, one on v2.

    Args:
        mountinfo: Content of /proc/self/mountinfo (proc(5)).
        own: Content of /proc/self/cgroup. Where only a part of a hierarchy is mounted, as in a container, it counts
            when this process is in it.
    """
    lines = [line.split(":", 2) for line in own.splitlines()]
    groups = {name: group for _, names, group in lines for name in (names.split(",") if names else ["cgroup2"])}
    found: dict[str, Hierarchy] = {}
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _source, options = [*rest.split(), "", "", ""][:3]
        if kind not in {"cgroup", "cgroup2"}:
            continue
        # Several mount points of one hierarchy have the same options; the first is enough.
        key = options if kind == "cgroup" else kind
        one = Hierarchy(Path(fields.split()[4]), kind == "cgroup2", fields.split()[3])
        known = found.get(key)
        mine = (groups[name] for name in (key, *options.split(",")) if name in groups)
        better = (
            known is None or known.root != "/" if one.root == "/" else known is None and any(map(one.directory, mine))
        )
        if better:
            found[key] = one
    return list(found.values())


def this_machine() -> list[Hierarchy]:
    """The hierarchies of the machine that the harness runs on."""
    mountinfo, own = (Path("/proc/self", name).read_text(encoding="utf-8") for name in ("mountinfo", "cgroup"))
    return hierarchies(mountinfo, own)


def cgroup_v1() -> bool:
    """Whether this machine's control groups are those of version 1, or a mixture; kubelet calls both so."""
    return not all(hierarchy.unified for hierarchy in this_machine())


@cache
def _unified() -> Hierarchy | None:
    return next((hierarchy for hierarchy in this_machine() if hierarchy.unified), None)


def unified_group(process: str) -> Path | None:
    """The cgroup v2 that a process is in; None without cgroup v2, or when the process is gone.

    Args:
        process: Its directory in a proc file system, as /proc/1.
    """
    hierarchy = _unified()
    try:
        lines = Path(process, "cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line.removeprefix("0::") for line in lines if line.startswith("0::/")), None)
    return hierarchy.directory(found) if hierarchy is not None and found is not None else None
