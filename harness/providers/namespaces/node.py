"""A namespace node as the layers above see it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from harness.enter import ENVIRONMENT, PROGRAMS, NamespaceRunner, into_process, joining
from harness.runner import CommandError

__all__ = ["ENVIRONMENT", "PROGRAMS", "NamespaceNode", "NamespaceRunner", "joining"]


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
        return into_process(self.host_path(f"/proc/{pid}"))

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
