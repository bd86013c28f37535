"""What the layers above a provider know of a node: a name, addresses, and how to run programs in it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.model.family import Address
from harness.runner import Runner


@runtime_checkable
class Node(Protocol):
    """A machine of the lab, whatever made it."""

    @property
    def name(self) -> str:
        """Its Kubernetes node name, or `router`, `far`, `fabric`."""
        ...

    @property
    def address(self) -> Address:
        """Its address on the underlay (InternalIP), in the primary family."""
        ...

    @property
    def runner(self) -> Runner:
        """Runs programs in all of the node's namespaces."""
        ...

    def into_netns(self, netns: str) -> Runner:
        """Runs the node's programs in another network namespace of that node.

        Args:
            netns: Path of the namespace as the node sees it: `/proc/123/ns/net`, `/run/netns/cni-…`.
        """
        ...

    def into_container(self, pid: int) -> Runner:
        """Runs a container's programs in all namespaces of a container's process.

        Args:
            pid: As the node sees it.
        """
        ...

    def file(self, path: str) -> str:
        """Content of a file of the node, as text; raises `CommandError` when there is none."""
        ...


class Lab(Protocol):
    """A lab that is up: nodes, the world outside, and the way to its API."""

    @property
    def name(self) -> str:
        """The lab's name."""
        ...

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The cluster's nodes; the first runs the control plane."""
        ...

    @property
    def router(self) -> Node | None:
        """The router that plays the outside world, where the provider has one."""
        ...

    @property
    def far(self) -> Node | None:
        """The host beyond the router's small-MTU link, where the provider has one."""
        ...

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, mode 0600."""
        ...
