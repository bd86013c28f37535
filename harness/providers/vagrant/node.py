"""A virtual machine of a lab as the layers above see it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.model.family import Address
from harness.providers.vagrant.ssh import SshRunner, Way


@dataclass(frozen=True)
class VagrantNode:
    """A machine of a lab, or a network namespace of one.

    Args:
        name: Kubernetes node name, or `router`, `far`.
        address: On the lab's network.
        way: How the machine is reached.
        netns: Path of a network namespace in it that is this machine's; empty: the machine's own.
    """

    name: str
    address: Address
    way: Way
    netns: str = ""

    @property
    def runner(self) -> SshRunner:
        """Runs programs on the machine, as root."""
        return self.into_netns(self.netns) if self.netns else SshRunner(self.way)

    def into_netns(self, netns: str) -> SshRunner:
        """See `model.node.Node.into_netns`."""
        return SshRunner(self.way, ("nsenter", f"--net={netns}", "--"))

    def into_container(self, pid: int) -> SshRunner:
        """See `model.node.Node.into_container`.

        Programs stay in the control group of ssh: what a network attaches to the root of all groups sees them, too.
        """
        return SshRunner(self.way, ("nsenter", "-t", str(pid), "-a", "--"))

    def file(self, path: str) -> str:
        """See `model.node.Node.file`."""
        return self.runner.run(["cat", path]).stdout

    @property
    def playbook_variables(self) -> Mapping[str, object]:
        """Variables with which Ansible reaches the machine, over the same connection."""
        return {
            "ansible_host": self.way.host,
            "ansible_connection": "ssh",
            "ansible_ssh_args": shlex.join(self.way.options),
            # On a terminal programs write other words: columns, colours, and carriage returns.
            "ansible_ssh_use_tty": False,
            "ansible_become": True,
            "ansible_python_interpreter": "/usr/bin/python3",
        }


@dataclass(frozen=True)
class VagrantLab:
    """A lab of virtual machines that is up. See `model.node.Lab`."""

    name: str
    nodes: tuple[VagrantNode, ...]
    router: VagrantNode | None
    far: VagrantNode | None
    kubeconfig: Path
