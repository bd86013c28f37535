"""`cnilab matrix`: the nightly matrix: its cells, a night on this machine, and one report of many runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import program
from harness.cli.command import Command, Group, Option
from harness.cli.context import say, settings
from harness.cli.output import FORMATS, Listing, emit, output_option

if TYPE_CHECKING:
    from harness.model.matrix import Cell
    from harness.steps.matrix.run import Outcome

JOB_MINUTES = 60
"""What a job may take besides its cell."""

_FILE = click.option(
    "--file",
    "path",
    cls=Option,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Your own matrix.  [default: the nightly matrix]",
)


@click.group(
    "matrix",
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    examples="""
    cnilab matrix list
    cnilab matrix run flannel cilium
    cnilab matrix report .runs/tonight/* --into .runs/tonight
    """,
)
def command() -> None:
    """Run many variants, providers and kernels one after the other, and write one report of them all."""


@command.command(
    "list",
    cls=Command,
    examples="""
    cnilab matrix list
    cnilab matrix list --file mine.yaml -o yaml
    cnilab matrix list -o github >> "$GITHUB_OUTPUT"
    """,
)
@_FILE
@click.option("--here/--anywhere", default=True, help="Check which cells this machine can run.  [default: here]")
@click.option(
    "-o",
    "--output",
    type=click.Choice((*FORMATS, "github")),
    default="table",
    show_default=True,
    help="Format of the data. github: one line for the matrix of a workflow.",
)
def list_(path: Path | None, *, here: bool, output: str) -> None:
    """List all cells. For cells that cannot run here, give the reason.

    With -o github only cells that can run are printed. A workflow reads them with fromJSON.
    """
    found = _cells(path, here=here)
    if output == "github":
        click.echo(_github(found))
        return
    emit(_listing(found), output)


def _cells(path: Path | None, *, here: bool) -> list[Cell]:
    from harness.steps.matrix import plan as matrix  # noqa: PLC0415 - the help must not wait for it

    found = matrix.load(path)
    return matrix.judged(found, settings().state, settings().cache) if here else found


def _github(found: list[Cell]) -> str:
    include = [
        {
            "cell": cell.id,
            "variant": cell.variant,
            "provider": cell.provider,
            "kernel": cell.kernel,
            "ipFamily": cell.ip_family,
            "minutes": cell.minutes,
            # A workflow's expressions cannot add: this is the job's limit, with time to get programs and to clean up.
            "timeout": cell.minutes + JOB_MINUTES,
        }
        for cell in found
        if not cell.unavailable
    ]
    return json.dumps({"include": include}, separators=(",", ":"))


def _listing(found: list[Cell]) -> Listing:
    from harness.steps.matrix.run import item  # noqa: PLC0415

    rows = [
        (
            cell.id,
            cell.variant,
            cell.provider,
            cell.kernel,
            str(cell.nodes),
            cell.labs if isinstance(cell.labs, str) else ",".join(cell.labs),
            f"{cell.minutes}m",
            f"unavailable: {cell.unavailable}" if cell.unavailable else "available",
        )
        for cell in found
    ]
    columns = ("cell", "variant", "provider", "kernel", "nodes", "labs", "limit", "status")
    return Listing("Cell", columns, rows, [item(cell) for cell in found])


@command.command(
    "run",
    cls=Command,
    examples="""
    cnilab matrix run
    cnilab matrix run flannel cilium --into .runs/tonight
    cnilab matrix run --file mine.yaml -o json > outcome.json
    """,
)
@click.argument("wanted", metavar="[CELL]...", nargs=-1)
@_FILE
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), help="Directory.  [default: ./.runs/<time>]")
@click.option(
    "--history",
    type=click.Path(dir_okay=False, path_type=Path),
    help="History of earlier nights, for comparison. The new history is written beside the report.",
)
@output_option()
def run(wanted: tuple[str, ...], path: Path | None, into: Path | None, history: Path | None, output: str) -> int:
    """Run cells on this machine, one after the other: up, apply, test, report and down for each.

    A failed cell does not stop the others. The exit code is that of the first cell that failed. The run directories
    and a report of them all are in one directory.
    """
    from harness.runner import HostRunner  # noqa: PLC0415
    from harness.steps.matrix import plan as matrix  # noqa: PLC0415
    from harness.steps.matrix.run import run_cells  # noqa: PLC0415

    found = matrix.choose(matrix.load(path), wanted)
    found = matrix.judged(found, settings().state, settings().cache)
    directory = into or Path(".runs") / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-matrix"
    outcomes = run_cells(found, directory, settings().state, _program(), HostRunner(), say)
    made = [place for one in outcomes if ((place := directory / one.cell.id) / "run.json").exists()]
    for written in _report(made, directory, history, None):
        say(str(written))
    emit(_outcomes(outcomes, directory), output)
    return next((one.exit for one in outcomes if one.exit), 0)


def _program() -> list[str]:
    """This program with the options that it was given."""
    return [*program.ARGV, *settings().options]


def _outcomes(outcomes: list[Outcome], directory: Path) -> Listing:
    rows = [
        (
            one.cell.id,
            one.state,
            str(one.exit) if one.state in {"failed", "timeout"} else "-",
            f"{one.seconds:.0f}s",
            one.cell.unavailable or "-",
        )
        for one in outcomes
    ]
    extra = {"directory": str(directory)}
    return Listing("Cell", ("cell", "state", "exit", "time", "reason"), rows, [o.item() for o in outcomes], extra=extra)


@command.command(
    "report",
    cls=Command,
    examples="""
    cnilab matrix report .runs/2026* --into night
    cnilab matrix report runs/* --into site --history site/history.jsonl --plan plan.json
    xdg-open "$(cnilab matrix report .runs/tonight/* --into .runs/tonight | head -1)"
    """,
)
@click.argument("runs", metavar="RUN-DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--into", required=True, type=click.Path(file_okay=False, path_type=Path), help="Directory to write to.")
@click.option(
    "--history",
    type=click.Path(dir_okay=False, path_type=Path),
    help="History of earlier nights. The file may be missing.  [default: history.jsonl in that directory]",
)
@click.option(
    "--plan",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Cells that were planned: the output of 'matrix list -o json'.  [default: matrix.json in that directory]",
)
def report(runs: tuple[Path, ...], into: Path, history: Path | None, plan: Path | None) -> None:
    """Write one report of many runs: index.html, summary.md, parity.md, history.jsonl. Prints their paths.

    The report begins with the changes since each cell's last run in the history. The command reads only run
    directories and ignores files among RUN-DIR. You can report the same runs again: the history has one line per run.
    """
    for path in _report(runs, into, history, plan):
        click.echo(str(path))


def _report(runs: Sequence[Path], into: Path, history: Path | None, plan: Path | None) -> list[Path]:
    from harness.steps.matrix.report import write_night  # noqa: PLC0415
    from harness.steps.matrix.run import RECORD  # noqa: PLC0415

    # A link is `latest`, which would count a run twice.
    directories = [path for path in runs if path.is_dir() and not path.is_symlink()]
    record = into / RECORD
    return write_night(directories, into, known=history, plan=plan or (record if record.is_file() else None))
