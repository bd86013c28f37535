"""Images for nodes that run already."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import timeouts
from harness.components.store import Store
from harness.errors import BringUpError, CnilabError
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
        there = node.runner.run(["ctr", "-n", "k8s.io", "images", "list", "-q"]).stdout.split()
        return [
            f"{image} on {node.name}"
            for reference, archive in wanted.items()
            if reference not in there
            for image in import_archive(node, archive)
        ]

    with ThreadPoolExecutor(max_workers=max(1, min(32, len(nodes)))) as pool:
        return [one for part in pool.map(load, nodes) for one in part]


def import_archive(node: Node, archive: Path) -> list[str]:
    """Give containerd an archive through its standard input: the node need not see the file.

    Args:
        node: Whose containerd.
        archive: As `docker save` or OCI tools write it.

    Returns:
        Names of the images in it.

    Raises:
        BringUpError: It took too long.
        CnilabError: It is no image.
    """
    with archive.open("rb") as file:
        process = node.runner.start(
            ["ctr", "-n", "k8s.io", "images", "import", "--all-platforms", "-"],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            out, _ = process.communicate(timeout=timeouts.scaled(timeouts.ROLLOUT))
        except subprocess.TimeoutExpired as error:
            process.kill()
            msg = f"{archive.name} was not imported within {timeouts.scaled(timeouts.ROLLOUT):.0f} s"
            raise BringUpError(msg, where=f"node {node.name}") from error
    text = out.decode(errors="replace")
    if process.returncode:
        msg = f"{archive.name} is not an image that containerd can import"
        raise CnilabError(msg, cause="\n".join(text.strip().splitlines()[-3:]), where=f"node {node.name}")
    return [line.split()[1] for line in text.splitlines() if line.startswith("unpacking ")]
