"""The driver of the vagrant provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from harness.model.labstate import LabDir
from harness.model.node import Node
from harness.providers.protocol import BaseDriver, Found, MachineHealth, MachineStatus, Order
from harness.providers.vagrant import state
from harness.providers.vagrant.state import VagrantState

if TYPE_CHECKING:
    from harness.model.family import Family
    from harness.model.spec import LabSpec
    from harness.model.variant import Variant

COMPONENTS = ("kubernetes", "responder")
"""`kubectl` for this machine, and what answers on the nodes; Kubernetes is in the box, or comes with the playbooks."""


@dataclass(frozen=True)
class VagrantDriver(BaseDriver):
    """See `protocol.Driver`. What only some commands need is imported where it is used.

    It has no `exits`: kubeadm's own waits notice a service that dies, and pods are looked at by all.
    """

    model: type[VagrantState] = VagrantState
    checks: Sequence[str] = (
        "vagrant", "vagrant-hypervisor", "vagrant-box", "vagrant-memory", "vagrant-disk", "vagrant-port", "ssh",
        "ansible", "disk-state", "disk-cache", "components", "go", "compilers", "leftovers",
    )  # fmt: skip
    families: Sequence[Family] = ("ipv4",)
    components: Sequence[str] = COMPONENTS
    replaceable: Sequence[str] = ("responder",)

    def bring_up(self, order: Order) -> Found:
        """See `protocol.Driver`."""
        from harness.providers.vagrant.bring_up import bring_up  # noqa: PLC0415

        return bring_up(order)

    def find(self, place: LabDir) -> Found:
        """See `protocol.Driver`."""
        from harness.providers.vagrant import provider  # noqa: PLC0415

        return Found(*provider.find(place))

    def delete(self, place: LabDir) -> list[str]:
        """See `protocol.Driver`."""
        from harness.providers.vagrant import provider  # noqa: PLC0415

        return provider.delete(place)

    def machines(self, place: LabDir) -> list[MachineStatus]:
        """See `protocol.Driver`."""
        from harness.providers.vagrant import provider  # noqa: PLC0415

        known = state.read(place)
        if known is None:
            return []
        there = provider.states(place, known)
        machines = provider.all_machines(provider.lab_of(place, known))
        return [
            MachineStatus(one.name, str(one.address), cast("MachineHealth", provider.health(there.get(one.name, ""))))
            for one in machines
        ]

    def living(self, place: LabDir) -> list[Node]:
        """See `protocol.Driver`."""
        from harness.providers.vagrant import provider  # noqa: PLC0415

        known = state.read(place)
        if known is None or not state.ssh_config(place).is_file():
            return []
        lab = provider.lab_of(place, known)
        silent = provider.silences(lab)
        living = [node for node in provider.all_machines(lab) if node.name not in silent]
        far = [lab.far] if lab.far is not None and lab.router in living else []
        return [*living, *far]

    def logs(self, place: LabDir) -> Iterator[tuple[str, Callable[[], str]]]:
        """See `protocol.Driver`."""
        from harness.providers.vagrant.provider import logs  # noqa: PLC0415

        return logs(place)

    def render(self, spec: LabSpec, variant: Variant) -> dict[str, str]:
        """A folder that vagrant and ansible-playbook work in, without anything of this project beside it."""
        from harness.providers.vagrant.bring_up import rendered  # noqa: PLC0415

        return rendered(spec, variant)


DRIVER = VagrantDriver()
