"""`cnilab report`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.command import command as define
from harness.cli.select import cluster_option
from harness.errors import ReportError


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
    from harness.cli.runs import existing_run  # noqa: PLC0415
    from harness.steps.lifecycle.report import write_reports  # noqa: PLC0415

    run = existing_run(directory, cluster, "report")
    try:
        written = write_reports(run)
    except OSError as error:
        msg = "the report could not be written"
        raise ReportError(msg, cause=str(error), where=str(run.path)) from error
    for path in written:
        click.echo(str(path))
