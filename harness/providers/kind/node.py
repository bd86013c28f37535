"""A node of kind as the layers above see it.

Where the engine's machine is this one, programs run in a node's namespaces at once, and this machine's tools reach its
links; else through `docker exec`, which takes a tenth of a second each time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.enter import EnteringRunner, into_machine, into_process, read_file, root_path, settings
from harness.model.family import Address
from harness.runner import Argv, CommandError, Runner


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


class DockerRunner(EnteringRunner):
    """Runs programs in a container of an engine that may be anywhere.

    Args:
        container: Its id.
        enter: Words before every program: nsenter, to go on from the node into a pod.
    """

    def __init__(self, container: str, enter: Sequence[str] = ()) -> None:
        super().__init__()
        self._container = container
        self._enter = tuple(enter)

    def vector(self, argv: Argv, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """See `HostRunner.vector`."""
        way = ("docker", "exec", "-i", self._container, "/usr/bin/env", "-i", *settings(env))
        return (*way, *self._enter, *(os.fspath(word) for word in argv))


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
    address: Address
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
        return into_machine(self.pid)

    def into_netns(self, netns: str) -> Runner:
        """See `model.node.Node.into_netns`."""
        if not self.pid:
            return DockerRunner(self.container, ("nsenter", f"--net={netns}", "--"))
        return into_machine(self.pid, netns)

    def into_container(self, pid: int) -> Runner:
        """See `model.node.Node.into_container`."""
        if not self.pid:
            return DockerRunner(self.container, ("nsenter", "-t", str(pid), "-a", "--"))
        return into_process(root_path(self.pid, f"/proc/{pid}"))

    def file(self, path: str) -> str:
        """See `model.node.Node.file`."""
        try:
            if self.pid:
                return read_file(self.pid, path)
            return self.runner.run(["cat", path]).stdout
        except OSError as error:
            msg = f"cannot read {path} on {self.name}"
            raise CommandError(msg, cause=error.strerror or str(error), where=self.name) from error


@dataclass(frozen=True)
class KindLab:
    """A lab on kind that is up. See `model.node.Lab`."""

    name: str
    nodes: tuple[KindNode, ...]
    router: KindNode | None
    far: KindNode | None
    kubeconfig: Path
