"""Places of faults as data, and back to ways into them: who clears a fault has only what was written down."""

from __future__ import annotations

from functools import cached_property
from typing import Final

from conformance.inventory import NAMESPACE
from conformance.policy.cases import PREFIX
from harness.errors import UsageError
from harness.model.injection import Where
from harness.model.spot import Spot
from harness.probes import sandboxes
from harness.steps.lifecycle.attach import Attached

KUBECTL: Final = "kubectl"


class Places:
    """Places of a cluster, as it is now.

    Args:
        attached: The cluster.
    """

    def __init__(self, attached: Attached) -> None:
        self._attached = attached

    @cached_property
    def _running(self) -> sandboxes.Sandboxes:
        """Asked of the nodes when the first pod is wanted."""
        return sandboxes.take(self._attached.lab)

    def where(self, name: str) -> Where:
        """A place as data.

        Args:
            name: As a fault calls it.

        Raises:
            BringUpError: There is no such pod.
        """
        if name == KUBECTL:
            return Where(name=name, kind="api")
        if any(node.name == name for node in self._attached.lab.nodes):
            return Where(name=name, kind="node")
        case, slash, pod = name.rpartition("/")
        found = self._running.find(f"{PREFIX}{case}" if slash else NAMESPACE, pod)
        return Where(name=name, kind="pod", namespace=found.namespace, pod=found.pod, sandbox=found.id)

    def spot(self, where: Where) -> Spot | None:
        """The way into a place; None for a pod that is gone, and with it all that was done in it.

        Raises:
            UsageError: The cluster has no such node.
            BringUpError: The nodes could not be asked.
        """
        if where.kind == "api":
            return Spot(where.name, where.name, self._attached.kubectl)
        if where.kind == "node":
            return self._node(where.name)
        running = self._running
        found = next((one for one in running.sandboxes if one.id == where.sandbox), None)
        return Spot(where.name, f"pod {found.key}", running.netns_runner(found)) if found is not None else None

    def _node(self, name: str) -> Spot:
        for node in self._attached.lab.nodes:
            if node.name == name:
                return Spot(name, f"node {name}", node.runner)
        msg = f"cluster '{self._attached.lab.name}' has no node {name}"
        raise UsageError(msg, cause=f"nodes: {', '.join(node.name for node in self._attached.lab.nodes)}")
