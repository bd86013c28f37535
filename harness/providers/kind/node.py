"""A node of kind as the layers above see it.

Where the engine's machine is this one, programs run in a node's namespaces at once, and this machine's tools reach its
links; else through `docker exec`, which takes a tenth of a second each time.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import IO

from harness import timeouts
from harness.enter import ENVIRONMENT, NamespaceRunner, into_process, joining
from harness.runner import Argv, CommandError, Completed, HostRunner, Runner


def is_local(container: str, pid: int) -> bool:
    """Whether a container's first process is one of this machine's, and may be entered.

    A PID alone says nothing: on the engine's machine it may be another process. The container's id is in the name of
    its cgroup.

    Args:
        container: Its id.
        pid: As the engine numbers it.
    """
    if pid <= 0 or os.geteuid() != 0:
        return False
    try:
        return container in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")
    except OSError:
        return False


class DockerRunner(HostRunner):
    """Runs programs in a container of an engine that may be anywhere.

    Args:
        container: Its id.
        enter: Words before every program: nsenter, to go on from the node into a pod.
    """

    def __init__(self, container: str, enter: Sequence[str] = ()) -> None:
        super().__init__()
        self._container = container
        self._enter = tuple(enter)

    def _words(self, argv: Argv, env: Mapping[str, str] | None) -> tuple[str, ...]:
        settings = (f"{key}={value}" for key, value in {**ENVIRONMENT, **(env or {})}.items())
        way = ("docker", "exec", "-i", self._container, "/usr/bin/env", "-i", *settings)
        return (*way, *self._enter, *(os.fspath(word) for word in argv))

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
class KindNode:
    """A container of a lab.

    Args:
        name: Kubernetes node name, or `router`, `far`.
        address: On the lab's network.
        container: Its id.
        pid: Its first process, as this machine numbers it; 0 where the engine's machine is another one.
        netns: Path of a network namespace inside the container that is this machine's; empty: the container's own.
    """

    name: str
    address: IPv4Address
    container: str
    pid: int = 0
    netns: str = ""

    @property
    def runner(self) -> Runner:
        """Runs programs in all of the container's namespaces."""
        if self.netns:
            return self.into_netns(self.netns)
        if not self.pid:
            return DockerRunner(self.container)
        return NamespaceRunner((*joining(f"/proc/{self.pid}"), "nsenter", "-t", str(self.pid), "-a"))

    def into_netns(self, netns: str) -> Runner:
        """See `model.node.Node.into_netns`."""
        if not self.pid:
            return DockerRunner(self.container, ("nsenter", f"--net={netns}", "--"))
        enter = ("nsenter", "-t", str(self.pid), "-a", f"--net=/proc/{self.pid}/root{netns}")
        return NamespaceRunner((*joining(f"/proc/{self.pid}"), *enter))

    def into_container(self, pid: int) -> Runner:
        """See `model.node.Node.into_container`."""
        if not self.pid:
            return DockerRunner(self.container, ("nsenter", "-t", str(pid), "-a", "--"))
        return into_process(f"/proc/{self.pid}/root/proc/{pid}")

    def file(self, path: str) -> str:
        """See `model.node.Node.file`."""
        try:
            if self.pid:
                with open(f"/proc/{self.pid}/root{path}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                    return file.read()
            done = self.runner.run(["cat", path])
        except OSError as error:
            msg = f"cannot read {path} on {self.name}"
            raise CommandError(msg, cause=error.strerror or str(error), where=self.name) from error
        return done.stdout


@dataclass(frozen=True)
class KindLab:
    """A lab on kind that is up. See `model.node.Lab`."""

    name: str
    nodes: tuple[KindNode, ...]
    router: KindNode | None
    far: KindNode | None
    kubeconfig: Path
