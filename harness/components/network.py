"""The lock for one version of a network: the pinned one, which is built here, or the project's own images. Pure.

Of a version that is not pinned nothing is built: its images are pulled or brought, and what installs them comes from
the project's Go module at that version, where Go's proxy serves one.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.components import recipes
from harness.components.lock import Lock
from harness.errors import UsageError


def pinned(lock: Lock, driver: str) -> str:
    """The version of a network that labs have unasked; empty for one that has no images.

    Args:
        lock: As loaded.
        driver: Of the network.
    """
    if driver == "weave":
        return recipes.WEAVE
    component = lock.component.get(driver)
    return component.version if component and component.published else ""


def with_network(lock: Lock, driver: str, wanted: str) -> Lock:
    """The lock for another version of a network; its images are for `with_images`, once they are known.

    Args:
        lock: As loaded.
        driver: Of the network.
        wanted: Its version in full; empty, or the pinned one, changes nothing.

    Raises:
        UsageError: The network has no version of its own.
    """
    known = pinned(lock, driver)
    if wanted in {"", known}:
        return lock
    if not known:
        msg = f"the network '{driver}' has no version of its own"
        raise UsageError(msg, where="spec.cniVersion", next_step="omit it")
    if driver not in lock.component:
        return lock
    components = {**lock.component, driver: lock.component[driver].as_published(wanted)}
    return lock.model_copy(update={"component": components})


def with_images(lock: Lock, references: Iterable[str]) -> Lock:
    """The lock with images that are pulled or brought.

    Args:
        lock: Of that version.
        references: Full names.
    """
    return lock.model_copy(update={"pulled": tuple(dict.fromkeys(references))})
