"""kind's node image: found in the Docker engine, or made there from the project's components."""

from __future__ import annotations

from harness.components import node_image
from harness.components.store import Store
from harness.model import firstly
from harness.providers.kind.engine import Engine

CHANGES = (firstly.entry_point(["/usr/local/bin/entrypoint", "/sbin/init"]), "ENV container=docker")
"""What the archive of a root directory cannot say. kind asks for nothing else."""


def build(store: Store, engine: Engine, *, again: bool = False) -> str:
    """Make the image, unless the engine has it.

    Args:
        store: Delivers what it is made of.
        engine: Gets it.
        again: Make it even then.

    Returns:
        The image's name.

    Raises:
        PreflightError: Something that it is made of cannot be had.
        EngineError: The engine refused it.
    """
    reference = node_image.reference(store)
    if engine.has_image(reference) and not again:
        return reference
    with (
        store.journal.step("components.node-image", reference),
        node_image.tree(store) as root,
        node_image.archive(store, root) as stream,
    ):
        engine.import_tree(stream, reference, CHANGES)
    return reference
