"""The store of components that a cluster is made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.context import settings

if TYPE_CHECKING:
    from harness.components.lock import Lock
    from harness.components.store import Store
    from harness.model.journal import Journal, Listener
    from harness.model.run import RunDir
    from harness.model.spec import LabSpec


def opened(journal: Journal, lock: Lock | None = None) -> Store:
    """The store that the options before the command say.

    Args:
        journal: Told of downloads and builds.
        lock: What is pinned; by default the project's `components.lock`.
    """
    from harness.components.store import Store  # noqa: PLC0415 - the help must not wait for it

    return Store(settings().cache, journal=journal, lock=lock, mirrors=settings().mirrors)


def whole_store(listener: Listener | None = None, kubernetes: str | None = None) -> Store:
    """The store with one version of Kubernetes, and the pinned version of every network.

    Args:
        listener: Told of downloads and builds.
        kubernetes: Minor or full version; by default that of the lock.
    """
    from harness.components.kubernetes import with_kubernetes  # noqa: PLC0415
    from harness.components.lock import load  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415

    lock = with_kubernetes(load(), kubernetes) if kubernetes else None
    return opened(Journal(None, *([listener] if listener else [])), lock)


def store_for(spec: LabSpec, journal: Journal, *, images: bool = True) -> Store:
    """The store with the cluster's versions of Kubernetes and of the network.

    Args:
        spec: The cluster's.
        journal: Told of downloads and builds.
        images: It shall know the images of a network that is not pinned: these are named in what installs it, which is
            downloaded when the cache does not have it.
    """
    from harness.cni.catalogue import variant  # noqa: PLC0415 - the help must not wait for these
    from harness.components.network import with_images  # noqa: PLC0415
    from harness.providers.needs import lock_for  # noqa: PLC0415

    store = opened(journal, lock_for(spec))
    if spec.cni_version and images:
        from harness.cni.networks import references  # noqa: PLC0415

        store.lock = with_images(store.lock, references(store, spec, variant(spec.cni)))
    return store


@contextmanager
def noted_store(spec: LabSpec, run: RunDir, journal: Journal, own: Mapping[str, Path] | None = None) -> Iterator[Store]:
    """The same, and what was taken from it is noted as the run's pins, also after a failure.

    Args:
        spec: The cluster's.
        run: Its run directory.
        journal: Told of downloads and builds.
        own: Programs that the user brought.
    """
    store = store_for(spec, journal)
    store.own.update(own or {})
    try:
        yield store
    finally:
        run.write_info(run.info().model_copy(update={"pins": tuple(store.pins())}))
