"""The store of components that a lab is made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.context import settings

if TYPE_CHECKING:
    from harness.components.store import Store
    from harness.model.journal import Journal
    from harness.model.run import RunDir
    from harness.model.spec import LabSpec


def store_for(spec: LabSpec, journal: Journal) -> Store:
    """The store with the lab's version of Kubernetes.

    Args:
        spec: The lab.
        journal: Told of downloads and builds.
    """
    from harness.components.kubernetes import with_kubernetes  # noqa: PLC0415
    from harness.components.lock import load as load_lock  # noqa: PLC0415 - the help must not wait for it
    from harness.components.store import Store  # noqa: PLC0415

    return Store(settings().cache, journal=journal, lock=with_kubernetes(load_lock(), spec.kubernetes.version))


@contextmanager
def noted_store(spec: LabSpec, run: RunDir, journal: Journal, own: Mapping[str, Path] | None = None) -> Iterator[Store]:
    """The same, and what was taken from it is noted as the run's pins, also after a failure.

    Args:
        spec: The lab.
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
