"""`cnilab load`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import timeouts
from harness.cli.command import command as define
from harness.cli.output import Listing, emit, output_option
from harness.cli.progress import progress
from harness.cli.select import attached, lab_option
from harness.errors import BringUpError, CnilabError

if TYPE_CHECKING:
    from harness.model.node import Node


@define(
    "load",
    examples="""
    docker save my/app:dev -o app.tar && cnilab load app.tar
    cnilab load app.tar sidecar.tar --lab monday
    cnilab load app.tar -o name
    """,
)
@click.argument("archives", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@lab_option()
@output_option()
def command(archives: tuple[Path, ...], *, lab: str | None, output: str) -> None:
    """Load image archives into every node, as 'docker save' or OCI tools write them.

    Pods use such an image with imagePullPolicy Never or IfNotPresent.
    """
    there = attached(lab)
    from harness.model.journal import Journal  # noqa: PLC0415

    rows: list[tuple[str, str]] = []
    with progress() as listener, ThreadPoolExecutor() as pool:
        journal = Journal(None, listener)
        for archive in archives:
            with journal.step("load", f"{archive.name} into {len(there.lab.nodes)} nodes"):
                jobs = [(node.name, pool.submit(_import, node, archive)) for node in there.lab.nodes]
                rows += [(image, name) for name, job in jobs for image in job.result()]
    items = [{"image": image, "node": node} for image, node in rows]
    emit(Listing("Image", ("image", "node"), rows, items, [f"image/{image}" for image, _ in rows]), output)


def _import(node: Node, archive: Path) -> list[str]:
    """Give containerd the archive through its standard input: the node need not see the file."""
    import subprocess  # noqa: PLC0415 - only for PIPE

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
