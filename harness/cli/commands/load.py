"""`cnilab load`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from harness.cli.command import command as define
from harness.cli.output import Listing, emit, output_option
from harness.cli.progress import progress
from harness.cli.select import attached, cluster_option
from harness.errors import UsageError


@define(
    "load",
    on_lab=True,
    examples="""
    docker save my/app:dev -o app.tar && cnilab load app.tar
    cnilab load app.tar sidecar.tar --cluster monday
    cnilab load app.tar -o name
    """,
)
@click.argument("archives", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@cluster_option()
@output_option()
def command(archives: tuple[Path, ...], *, cluster: str | None, output: str) -> None:
    """Load image archives into every node, as 'docker save' or OCI tools write them.

    Pods use such an image with imagePullPolicy Never or IfNotPresent.
    """
    there = attached(cluster)
    from harness.containerd import RefusedError, import_archive  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415

    rows: list[tuple[str, str]] = []
    with progress() as listener, ThreadPoolExecutor() as pool:
        journal = Journal(None, listener)
        for archive in archives:
            with journal.step("load", f"load {archive.name} into {len(there.lab.nodes)} nodes"):
                jobs = [(node.name, pool.submit(import_archive, node, archive)) for node in there.lab.nodes]
                try:
                    rows += [(image, name) for name, job in jobs for image in job.result()]
                except RefusedError as error:
                    msg = f"{archive.name} is not an image that containerd accepts"
                    step = f"docker save IMAGE -o {archive.name}"
                    raise UsageError(msg, cause=error.cause, where=error.where, next_step=step) from error
    items = [{"image": image, "node": node} for image, node in rows]
    emit(Listing("Image", ("image", "node"), rows, items, [f"image/{image}" for image, _ in rows]), output)
