"""`cnilab judge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.command import command as define
from harness.cli.context import say
from harness.cli.output import output_option
from harness.cli.select import cluster_option
from harness.cli.verdicts import conclude

if TYPE_CHECKING:
    from harness.steps.suite.judge import Judged


@define(
    "judge",
    examples="""
    cnilab judge
    cnilab judge .runs/20260102T101500-flannel
    cnilab judge --select 'mtu,model.no-nat.*' --strict -o json
    """,
)
@click.argument("directory", metavar="[RUN-DIR]", required=False, type=click.Path(path_type=Path))
@cluster_option()
@click.option(
    "-k",
    "--select",
    help="Judge only these checks: ids, areas or patterns, separated by commas.  [default: those of 'cnilab test']",
)
@click.option("--strict", is_flag=True, help="Count requirements that are only SHOULD, too.")
@output_option()
def command(directory: Path | None, *, cluster: str | None, select: str | None, strict: bool, output: str) -> int:
    """Judge again what a run has seen. No cluster is needed.

    The command reads the observations that 'cnilab test' left in the run directory, and gives the verdicts of this
    version. The same observations give the same bytes. It names the verdicts that differ from those of the run, and
    writes nothing. Without arguments it takes the newest run. Exit codes are those of 'cnilab test'.
    """
    from harness.cli.runs import existing_run  # noqa: PLC0415
    from harness.steps.suite.explain import explained  # noqa: PLC0415
    from harness.steps.suite.judge import judge_run  # noqa: PLC0415

    run = existing_run(directory, cluster, "judge")
    judged = judge_run(run, select)
    code = conclude(judged.results, explained(run, judged.results), output, strict=strict)
    say(_compared(judged))
    return code


def _compared(judged: Judged) -> str:
    if not judged.compared:
        return "The run has no verdicts to compare these with."
    if not judged.differences:
        return f"All {judged.compared} verdicts of the run are the same."
    listed = "".join(f"\n  {one}" for one in judged.differences)
    return f"{len(judged.differences)} of {judged.compared} verdicts of the run differ:{listed}"
