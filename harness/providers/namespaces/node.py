"""A namespace node as the layers above see it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.enter import NamespaceRunner, into_machine, into_process, read_file, root_path
from harness.model.family import Address
from harness.runner import CommandError


@dataclass(frozen=True)
class NamespaceNode:
    """A machine of a lab.

    Args:
        name: Node name, or `router`, `far`, `fabric`.
        address: On the underlay.
        pid: Its init, as the host sees it.
    """

    name: str
    address: Address
    pid: int

    @property
    def runner(self) -> NamespaceRunner:
        """Runs programs in all of the machine's namespaces."""
        return into_machine(self.pid)

    def into_netns(self, netns: str) -> NamespaceRunner:
        """See `model.node.Node.into_netns`."""
        return into_machine(self.pid, netns)

    def into_container(self, pid: int) -> NamespaceRunner:
        """See `model.node.Node.into_container`."""
        return into_process(self.host_path(f"/proc/{pid}"))

    def host_path(self, path: str) -> str:
        """A path of the machine as the host reaches it."""
        return root_path(self.pid, path)

    def file(self, path: str) -> str:
        """See `model.node.Node.file`."""
        try:
            return read_file(self.pid, path)
        except OSError as error:
            msg = f"cannot read {path} on {self.name}"
            raise CommandError(msg, cause=error.strerror or str(error), where=self.name) from error
