"""A namespace node as the layers above see it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import IO

from harness import timeouts
from harness.providers.namespaces import cgroups
from harness.runner import Argv, CommandError, Completed, HostRunner

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


def joining(process: str) -> tuple[str, ...]:
    """Words before a command that put it into the cgroup of a process (cgroups(7)); none without cgroup v2.

    Args:
        process: Its directory in a proc file system.
    """
    group = cgroups.unified_group(process)
    return (*_JOIN, f"{group}/cgroup.procs") if group else ()


class NamespaceRunner(HostRunner):
    """Runs programs in the namespaces of a process.

    The PID namespace is always entered: what is started there ends when the machine does.

    Args:
        enter: The words that lead there.
    """

    def __init__(self, enter: Sequence[str]) -> None:
        super().__init__()
        self._enter = tuple(enter)

    def _words(self, argv: Argv, env: Mapping[str, str] | None) -> tuple[str, ...]:
        # The machine's environment, not the caller's: a lab must not depend on who runs it.
        environment = {**ENVIRONMENT, **(env or {})}
        settings = (f"{key}={value}" for key, value in environment.items())
        # env runs outside: the file system inside may be an image that has nothing but one program.
        return ("/usr/bin/env", "-i", *settings, *self._enter, "--", *(os.fspath(word) for word in argv))

    def vector(self, argv: Argv, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """See `HostRunner.vector`."""
        return self._words(argv, env)

    def run(
        self,
        argv: Argv,
        *,
        input: str | None = None,  # noqa: A002 - the name that subprocess.run has
        timeout: float = timeouts.COMMAND,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """See `Runner.run`."""
        return super().run(self._words(argv, env), input=input, timeout=timeout, check=check)

    def start(
        self,
        argv: Argv,
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """See `Runner.start`."""
        return super().start(self._words(argv, env), stdin=stdin, stdout=stdout, stderr=stderr)


@dataclass(frozen=True)
class NamespaceNode:
    """A machine of a lab.

    Args:
        name: Node name, or `router`, `far`, `fabric`.
        address: On the underlay.
        pid: Its init, as the host sees it.
    """

    name: str
    address: IPv4Address
    pid: int

    @property
    def runner(self) -> NamespaceRunner:
        """Runs programs in all of the machine's namespaces."""
        return NamespaceRunner((*joining(f"/proc/{self.pid}"), "nsenter", "-t", str(self.pid), "-a"))

    def into_netns(self, netns: str) -> NamespaceRunner:
        """See `model.node.Node.into_netns`."""
        enter = ("nsenter", "-t", str(self.pid), "-a", f"--net={self.host_path(netns)}")
        return NamespaceRunner((*joining(f"/proc/{self.pid}"), *enter))

    def into_container(self, pid: int) -> NamespaceRunner:
        """See `model.node.Node.into_container`."""
        flags = {"mnt": "mount"}
        process = self.host_path(f"/proc/{pid}")
        namespaces = (f"--{flags.get(kind, kind)}={process}/ns/{kind}" for kind in _NAMESPACES)
        return NamespaceRunner((*joining(process), "nsenter", *namespaces))

    def host_path(self, path: str) -> str:
        """A path of the machine as the host reaches it: through the root of its init (proc(5), /proc/pid/root)."""
        return f"/proc/{self.pid}/root{path}"

    def file(self, path: str) -> str:
        """See `model.node.Node.file`."""
        try:
            with open(self.host_path(path), encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - /proc link
                return file.read()
        except OSError as error:
            msg = f"cannot read {path} on {self.name}"
            raise CommandError(msg, cause=error.strerror or str(error), where=self.name) from error
