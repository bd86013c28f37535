"""Images for nodes that run already."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from harness.components.store import Store
from harness.containerd import import_missing
from harness.model.node import Node


def load_images(nodes: Sequence[Node], store: Store, names: Sequence[str]) -> list[str]:
    """Give nodes the images that they lack.

    Args:
        nodes: Which.
        store: Delivers archives.
        names: Short names of the store's.

    Returns:
        What was loaded: `image on node`.
    """
    store.ensure(store.image_components(names))
    wanted = dict(zip(store.image_references(names), store.image_archives(names), strict=True))

    def load(node: Node) -> list[str]:
        return [f"{image} on {node.name}" for image in import_missing(node, wanted)]

    with ThreadPoolExecutor(max_workers=max(1, min(32, len(nodes)))) as pool:
        return [one for part in pool.map(load, nodes) for one in part]
