"""The driver of the kind provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import CnilabError
from harness.model.labstate import LabDir
from harness.model.node import Node
from harness.providers.kind import state
from harness.providers.kind.state import KindState
from harness.providers.protocol import BaseDriver, Found, MachineHealth, MachineStatus, Order

if TYPE_CHECKING:
    from harness.model.spec import LabSpec
    from harness.model.variant import Variant

COMPONENTS = ("kind", "kubernetes", "responder")
"""`kind` itself, `kubectl` for it, and what answers on the nodes; Kubernetes is in the image of the nodes."""


@dataclass(frozen=True)
class KindDriver(BaseDriver):
    """See `protocol.Driver`. What only some commands need is imported where it is used: Docker's SDK above all.

    It has no `exits`: kubeadm's own waits notice a service that dies, and pods are looked at by all.
    """

    model: type[KindState] = KindState
    checks: Sequence[str] = (
        "docker", "docker-cli", "docker-ipv6", "docker-image", "memory", "disk-state", "disk-cache", "port", "inotify",
        "components", "go", "compilers", "kubernetes", "leftovers",
    )  # fmt: skip

    blocking: Sequence[str] = ("docker", "docker-cli", "docker-ipv6")
    components: Sequence[str] = COMPONENTS
    replaceable: Sequence[str] = ("responder",)
    own_images: Sequence[str] = ("pause",)

    def bring_up(self, order: Order) -> Found:
        """See `protocol.Driver`."""
        from harness.providers.kind.bring_up import bring_up  # noqa: PLC0415

        return bring_up(order)

    def find(self, place: LabDir) -> Found:
        """See `protocol.Driver`."""
        from harness.providers.kind import provider  # noqa: PLC0415

        return Found(*provider.find(place))

    def delete(self, place: LabDir) -> list[str]:
        """See `protocol.Driver`."""
        from harness.providers.kind import provider  # noqa: PLC0415

        return provider.delete(place)

    def machines(self, place: LabDir) -> list[MachineStatus]:
        """See `protocol.Driver`."""
        known = state.read(place)
        if known is None:
            return []
        there = _running(place, known)
        return [_status(machine, there) for machine in known.machines]

    def living(self, place: LabDir) -> list[Node]:
        """See `protocol.Driver`."""
        from harness.providers.kind.provider import lab_of  # noqa: PLC0415

        known = state.read(place)
        if known is None:
            return []
        lab, there = lab_of(place, known), _running(place, known)
        return [node for node in (*lab.nodes, lab.router, lab.far) if node is not None and there.get(node.container)]

    def logs(self, place: LabDir) -> Iterator[tuple[str, Callable[[], str]]]:
        """See `protocol.Driver`."""
        from harness.providers.kind.provider import logs  # noqa: PLC0415

        return logs(place)

    def render(self, spec: LabSpec, variant: Variant) -> dict[str, str]:
        """See `protocol.Driver`."""
        from harness.providers.kind.bring_up import rendered  # noqa: PLC0415

        return rendered(spec, variant)


def _running(place: LabDir, known: KindState) -> dict[str, bool]:
    """Container id to whether it runs; empty when the engine does not answer."""
    from harness.providers.kind.engine import Engine  # noqa: PLC0415
    from harness.providers.kind.provider import containers  # noqa: PLC0415

    try:
        return {one.id: one.running for one in containers(Engine(known.host), place)}
    except CnilabError:
        return {}


def _status(machine: state.MachineState, there: dict[str, bool]) -> MachineStatus:
    health: MachineHealth = "Missing"
    if machine.id in there:
        health = "Running" if there[machine.id] else "Dead"
    return MachineStatus(machine.name, str(machine.address), health, machine.pid)


DRIVER = KindDriver()
