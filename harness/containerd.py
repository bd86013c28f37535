"""Images of a node's containerd, by its own `ctr`."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness import timeouts
from harness.errors import BringUpError
from harness.model.node import Node
from harness.runner import stop

_CTR = ("ctr", "-n", "k8s.io", "images")
"""Kubernetes' images are in a namespace of their own (containerd's `io.containerd.grpc.v1.cri`)."""

_IMPORTED = re.compile(r"unpacking (?P<old>\S+) |(?P<new>\S+)\s+saved\b")
"""A line about an image: of containerd 1, and of containerd 2 (cmd/ctr/commands/images/import.go)."""
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")


class RefusedError(BringUpError):
    """What containerd was given is no image to it, or it had no room for it."""


def import_missing(node: Node, archives: Mapping[str, Path]) -> list[str]:
    """Give a node the images that it lacks.

    Args:
        node: Which.
        archives: Full name of an image, to its archive.

    Returns:
        Names of the images that were imported.

    Raises:
        BringUpError: It took too long.
        RefusedError: containerd refused one.
    """
    there = node.runner.run([*_CTR, "list", "-q"]).stdout.split()
    return [
        image
        for reference, archive in archives.items()
        if reference not in there
        for image in import_archive(node, archive)
    ]


def import_archive(node: Node, archive: Path) -> list[str]:
    """Give containerd an archive through its standard input: the node need not see the file.

    Args:
        node: Whose containerd.
        archive: As `docker save` or OCI tools write it.

    Returns:
        Names of the images in it.

    Raises:
        BringUpError: It took too long.
        RefusedError: containerd refused it.
    """
    argv = [*_CTR, "import", "--all-platforms", "-"]
    with (
        archive.open("rb") as file,
        node.runner.start(argv, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process,
    ):
        try:
            out, _ = process.communicate(timeout=timeouts.stretched(timeouts.ROLLOUT))
        except subprocess.TimeoutExpired as error:
            msg = f"{archive.name} was not imported within {timeouts.stretched(timeouts.ROLLOUT):.0f} s"
            raise BringUpError(msg, where=f"node {node.name}") from error
        finally:
            stop(process)
    text = out.decode(errors="replace")
    if process.returncode:
        msg = f"containerd does not accept {archive.name}"
        raise RefusedError(
            msg,
            cause="\n".join(text.strip().splitlines()[-3:]),
            where=f"node {node.name}",
            next_step="check the free disk space; 'cnilab components verify' checks the components",
        )
    return _imported(text)


def _imported(text: str) -> list[str]:
    """Names in what `ctr images import` printed; `ctr` of containerd 2 shows how far each is, again and again."""
    lines = (match for line in text.splitlines() if (match := _IMPORTED.match(_CONTROL.sub("", line))))
    return list(dict.fromkeys(match["old"] or match["new"] for match in lines))
