"""What a lab takes from the store, said once: for bring-up, dry runs, doctor, and who brings programs of their own."""

from __future__ import annotations

from harness.cni import catalogue, networks
from harness.components.kubernetes import with_kubernetes
from harness.components.lock import Lock, load
from harness.components.network import with_network
from harness.components.store import Store
from harness.model.spec import LabSpec
from harness.providers import registry
from harness.providers.protocol import Needs

IMAGES = ("pause", "toolbox", "responder", "coredns")
"""What every lab has pods of, or needs to have pods at all."""


WITHOUT_KUBERNETES = ("nodeinit", "responder")
"""What machines take from the store that are no cluster's nodes, beside CNI plugins."""

PLUGINS_OF_NETWORKS = ("cni-flannel",)
"""CNI plugins that an image of a network brings to its nodes. Machines without Kubernetes have them at once."""


def lock_for(spec: LabSpec) -> Lock:
    """The lock with a lab's versions: of Kubernetes, and of the network.

    Raises:
        UsageError: There is no such version.
    """
    lock = with_kubernetes(load(), spec.kubernetes.version)
    return with_network(lock, catalogue.variant(spec.cni).driver, spec.cni_version)


def needs(spec: LabSpec, store: Store) -> Needs:
    """What a lab takes from the store.

    Args:
        spec: The lab.
        store: Knows what images are made of.
    """
    driver = registry.driver(spec.provider)
    variant = catalogue.variant(spec.cni)
    if not variant.kubernetes:
        own = (*WITHOUT_KUBERNETES, *store.cni_components(), *PLUGINS_OF_NETWORKS)
        return Needs((), components=own, replaceable=own)
    wanted = (*IMAGES, *networks.images(store.lock, spec, variant))
    images = tuple(name for name in wanted if name not in driver.own_images)
    shared = (*store.cni_components(), *store.image_components(images))
    return Needs(
        images,
        components=tuple(dict.fromkeys((*driver.components, *networks.components(spec, variant), *shared))),
        replaceable=tuple(dict.fromkeys((*driver.replaceable, *shared))),
    )
