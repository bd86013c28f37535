"""`cnilab report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.command import command as define
from harness.cli.context import checked_name, settings, shown
from harness.cli.select import cluster_option, names
from harness.errors import ReportError, UsageError

if TYPE_CHECKING:
    from harness.model.run import RunDir


@define(
    "report",
    examples="""
    cnilab report
    cnilab report .runs/20260102T101500-flannel
    xdg-open "$(cnilab report --cluster monday | grep html)"
    """,
)
@click.argument("directory", metavar="[RUN-DIR]", required=False, type=click.Path(path_type=Path))
@cluster_option()
def command(directory: Path | None, *, cluster: str | None) -> None:
    """Write the report of a run: one HTML file, JUnit and a Markdown summary. Prints their paths.

    The command reads only the run directory, so it also works when the cluster has been removed. Without arguments it
    takes the newest run.
    """
    run = _run(directory, cluster)
    from harness.steps.lifecycle.report import write_reports  # noqa: PLC0415

    try:
        written = write_reports(run)
    except OSError as error:
        msg = "the report could not be written"
        raise ReportError(msg, cause=str(error), where=str(run.path)) from error
    for path in written:
        click.echo(str(path))


def _run(directory: Path | None, cluster: str | None) -> RunDir:
    from harness.cli.runs import last_run  # noqa: PLC0415
    from harness.model.labstate import LabDir, LabState, read  # noqa: PLC0415
    from harness.model.run import RunDir  # noqa: PLC0415

    if directory is not None:
        path = directory
    elif cluster is not None and checked_name(cluster) in names():
        known = read(LabDir(settings().state, cluster), LabState)
        path = Path(known.run) if known is not None and known.run else Path(".runs/latest")
    elif cluster is not None:
        last = last_run(cluster)
        path = last.path if last is not None else Path(f".runs/*-{cluster}")
    else:
        path = Path(".runs/latest")
    if not (path / "run.json").is_file():
        msg = f"{shown(str(path), 200)} is not a run directory"
        raise UsageError(msg, cause="it has no run.json", next_step="name one: cnilab report .runs/…")
    return RunDir(path.resolve())
