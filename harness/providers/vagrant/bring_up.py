"""A lab of virtual machines: Vagrant makes them, and playbooks a cluster of them; nodes get programs and images."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness import resources, timeouts, yamlio
from harness.ansible.play import play
from harness.cluster.client_kubeconfig import split_client
from harness.cni import networks
from harness.containerd import import_missing
from harness.errors import BringUpError
from harness.model.labstate import LabDir
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.providers import registry
from harness.providers.protocol import Found, Order
from harness.providers.vagrant import create, provider, render, state
from harness.providers.vagrant.node import VagrantLab

PLAYBOOKS = ("vagrant-cluster.yaml", "vagrant-network.yaml")
ROLES = (
    "kube_containerd", "kube_control_plane", "kube_node", "kube_programs", "kube_worker", "lab_router", "lab_routes",
    "manifests",
)  # fmt: skip


def bring_up(order: Order) -> Found:
    """Make the machines of a lab, and a cluster of them; see `protocol.Driver`."""
    spec, place, journal = order.spec, order.place, order.journal
    known = create.claim(place, spec, order.run.path)
    with ThreadPoolExecutor() as pool:
        # The machines need nothing of this project, and take longest.
        prepared = pool.submit(_materials, order)
        lab = create.machines(place, spec, rendered(spec, order.variant, state.unique_name(place)), journal)
        with journal.step("up.materials", "programs and images"):
            materials = prepared.result()
    create.give_programs(lab, materials, journal)
    play(
        render.PLAYBOOK,
        inventory(lab, spec, order.variant),
        order.run.path,
        journal,
        variables={"kube_control_plane_kubeconfig": str(place.kubeconfig)},
        deadline=timeouts.CLUSTER_PLAYBOOK,
    )
    split_client(place, place.kubeconfig.read_text(encoding="utf-8"))
    with journal.step("up.images", f"images to {spec.nodes} nodes"):
        create.prepare_nodes(lab, materials, import_missing)
    return Found(_remember(place, materials), provider.lab_of(place, known))


def _materials(order: Order) -> create.VagrantMaterials:
    """Programs and images, from the cache or made now."""
    store, wanted = order.store, order.needs.images
    store.ensure(order.needs.components)
    networks.deliver(store, order.place, order.spec, order.variant)
    return create.VagrantMaterials(
        programs=store.bin_dir(registry.driver(order.spec.provider).components),
        responder=store.ensure(["responder"])["responder"].path,
        cni=store.cni_dir(),
        loads=dict(zip(store.image_references(wanted), store.image_archives(wanted), strict=True)),
        file_systems=networks.network(order.variant).file_systems,
    )


def _remember(place: LabDir, materials: create.VagrantMaterials) -> state.VagrantState:
    known = state.read(place)
    if known is None:
        msg = f"cluster '{place.name}' was taken down during its bring-up"
        raise BringUpError(msg)
    known = known.model_copy(update={"programs": str(materials.programs)})
    state.write(place, known)
    return known


def inventory(lab: VagrantLab, spec: LabSpec, variant: Variant) -> str:
    """The rendered inventory, with the way to each machine.

    Args:
        lab: Its machines are reached.
        spec: The lab.
        variant: Its CNI variant.
    """
    ways = {machine.name: machine.playbook_variables for machine in provider.all_machines(lab)}
    document = render.inventory(spec, kube_proxy=variant.kube_proxy)

    def fill(group: dict[str, Any] | None) -> None:
        hosts = (group or {}).get("hosts", {})
        for name in hosts:
            hosts[name] = {**hosts[name], **ways[name]}
        for child in (group or {}).get("children", {}).values():
            fill(child)

    fill(document["all"])
    return yamlio.dumps(document)


def rendered(spec: LabSpec, variant: Variant, unique: str = "") -> dict[str, str]:
    """The Vagrantfile, the inventory and the playbooks, by relative path.

    Args:
        spec: The lab.
        variant: Its CNI variant.
        unique: What names of the hypervisor's begin with; made of the lab's name by default.
    """
    folder = resources.root() / "playbooks"
    roles = [path for role in ROLES for path in sorted((folder / "roles" / role).rglob("*")) if path.is_file()]
    copied = [*(folder / name for name in PLAYBOOKS), *roles]
    playbooks = {f"playbooks/{path.relative_to(folder)}": path.read_text(encoding="utf-8") for path in copied}
    return {**render.files(spec, kube_proxy=variant.kube_proxy, unique=unique), **playbooks}
