"""The driver of the vagrant provider: it renders everything, and brings nothing up by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import resources
from harness.model import labstate
from harness.model.labstate import LabDir, LabState
from harness.model.node import Node
from harness.steps.providers import Exits, Found, MachineStatus, Order, not_made_here

if TYPE_CHECKING:
    from harness.model.spec import LabSpec
    from harness.model.variant import Variant

PLAYBOOKS = ("vagrant-cluster.yaml", "vagrant-network.yaml")
ROLES = (
    "kube_containerd", "kube_control_plane", "kube_node", "kube_programs", "kube_worker", "lab_router", "lab_routes",
    "manifests",
)  # fmt: skip


@dataclass(frozen=True)
class VagrantDriver:
    """See `providers.Driver`."""

    model: type[LabState] = LabState
    checks: Sequence[str] = ("memory",)
    blocking: Sequence[str] = ()
    components: Sequence[str] = ()
    replaceable: Sequence[str] = ()
    own_images: Sequence[str] = ()

    def bring_up(self, order: Order) -> Found:
        """Refuse: Vagrant, and whoever has a hypervisor, does it with the rendered files."""
        raise not_made_here(order.spec)

    def find(self, place: LabDir) -> Found:
        """There is none: none was brought up."""
        raise labstate.no_such_lab(place)

    def delete(self, place: LabDir) -> list[str]:
        """Nothing was made."""
        del place
        return []

    def machines(self, place: LabDir) -> list[MachineStatus]:
        """None."""
        del place
        return []

    def living(self, place: LabDir) -> list[Node]:
        """None."""
        del place
        return []

    def logs(self, place: LabDir) -> Iterator[tuple[str, Callable[[], str]]]:
        """None."""
        del place
        return iter(())

    def exits(self, place: LabDir) -> list[Exits]:
        """None."""
        del place
        return []

    def render(self, spec: LabSpec, variant: Variant) -> dict[str, str]:
        """A folder that vagrant and ansible-playbook work in, without anything of this project beside it."""
        from harness.providers.vagrant import render  # noqa: PLC0415

        del variant
        folder = resources.root() / "playbooks"
        roles = [path for role in ROLES for path in sorted((folder / "roles" / role).rglob("*")) if path.is_file()]
        copied = [*(folder / name for name in PLAYBOOKS), *roles]
        playbooks = {f"playbooks/{path.relative_to(folder)}": path.read_text(encoding="utf-8") for path in copied}
        return {**render.files(spec), **playbooks}


DRIVER = VagrantDriver()
