"""What a lab takes from the store, said once: for bring-up, its dry run, and who brings programs of their own."""

from __future__ import annotations

from collections.abc import Iterable

from harness.cni import catalogue
from harness.components.store import Store
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.steps import networks, providers

IMAGES = ("pause", "toolbox", "responder", "coredns")


def images(variant: Variant) -> tuple[str, ...]:
    """Images that every node has before its first pod; short names of the store's."""
    return (*IMAGES, *networks.network(variant).images)


def components(spec: LabSpec, store: Store) -> frozenset[str]:
    """Names of all components: of the nodes, of CNI plugins, and of what is in images."""
    return _with_images(providers.driver(spec.provider).components, spec, store)


def replaceable(spec: LabSpec, store: Store) -> frozenset[str]:
    """Names of those among them whose programs run in the lab, so that others can run in their place."""
    return _with_images(providers.driver(spec.provider).programs, spec, store)


def _with_images(names: Iterable[str], spec: LabSpec, store: Store) -> frozenset[str]:
    wanted = images(catalogue.variant(spec.cni))
    return frozenset({*names, *store.cni_components(), *store.image_components(wanted)})
