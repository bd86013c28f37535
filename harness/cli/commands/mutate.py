"""`cnilab mutate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.command import Option
from harness.cli.command import command as define
from harness.cli.context import say
from harness.cli.output import Listing, emit, output_option
from harness.cli.progress import progress
from harness.cli.select import attached, cluster_option, lives_in_machine
from harness.cli.whole import Whole
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.model.mutation import Column, MutationTable
    from harness.model.run import RunDir
    from harness.steps.lifecycle.attach import Attached
    from harness.steps.mutation.gather import Night, Plan


@define(
    "mutate",
    examples="""
    cnilab mutate
    cnilab mutate --variants flannel,cilium --faults F40,snat-same --into .runs/tonight
    cnilab mutate --resume .runs/tonight --write docs/mutation.md
    cnilab mutate --cluster flannel --faults F47 -o json
    """,
)
@click.option("--variants", metavar="NAMES", help="Networks, separated by commas.  [default: flannel]")
@cluster_option(words="Use this running cluster, and do not remove it.")
@click.option("--faults", "only", cls=Option, metavar="FAULTS", help="Only these faults: ids or names, with commas.")
@click.option("--nodes", type=click.IntRange(min=2), help="Number of nodes of each cluster.  [default: 2]")
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), help="Directory.  [default: ./.runs/<time>-mutation]"
)
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Go on with what is missing in the directory of an earlier run.",
)
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the table to this page, and its data to a .json beside it. Networks that were not run stay.",
)
@click.option("--explain", is_flag=True, help="Have causes told, too, and see whether they name what was broken.")
@output_option()
@click.pass_context
def command(  # noqa: PLR0913 - one parameter per option, as click wants it
    ctx: click.Context,
    /,
    *,
    variants: str | None,
    cluster: str | None,
    only: str | None,
    nodes: int | None,
    into: Path | None,
    resume: Path | None,
    write: Path | None,
    explain: bool,
    output: str,
) -> int:
    """Test the suite itself: inject each fault, and judge all checks under it.

    For each network a cluster is brought up, and removed at the end; with --cluster, a running one is used. Each result
    is stored at once. After Ctrl-C the cluster is removed, and --resume goes on. Exit code 1: a fault survived, made a
    check fail that it should have spared, or has no verdict without a reason.
    """
    from harness.steps.mutation.gather import Night  # noqa: PLC0415 - the help must not wait for pydantic

    there = _there(cluster) if cluster is not None else None
    if resume is not None:
        _alone(variants=variants, faults=only, nodes=nodes, into=into, explain=explain or None)
        night = Night(resume)
        wanted = night.plan()
    else:
        wanted = _plan(there, variants, only, nodes, explain=explain)
        night = Night(into or Path(".runs") / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-mutation")
        night.begin(wanted)
    try:
        code = _with(there, night, wanted) if there is not None else _bring_up(ctx, night, wanted)
    except KeyboardInterrupt:
        say(f"The results so far are kept. To go on: cnilab mutate --resume {night.path}")
        raise
    return _conclude(night, wanted, write, output) or code


def _there(cluster: str) -> Attached:
    """The cluster that is used instead of one for each network."""
    if lives_in_machine(cluster):
        msg = f"cluster '{cluster}' is in a virtual machine"
        raise UsageError(msg, next_step="'cnilab test --faults' runs there; or use --variants")
    return attached(cluster)


def _alone(**given: object) -> None:
    strays = [f"--{name}" for name, value in given.items() if value is not None]
    if strays:
        msg = f"{strays[0]} cannot be used with --resume: the directory says what was asked for."
        raise click.UsageError(msg)


def _plan(there: Attached | None, variants: str | None, only: str | None, nodes: int | None, *, explain: bool) -> Plan:
    from harness.steps.mutation.gather import plan  # noqa: PLC0415

    if there is not None and (variants is not None or nodes is not None):
        msg = "--cluster says which network it is: --variants and --nodes are for clusters that are brought up."
        raise click.UsageError(msg)
    names = [there.spec.cni] if there is not None else _words(variants or "flannel")
    return plan(names, _words(only or ""), there.spec.nodes if there is not None else nodes or 2, explain=explain)


def _words(text: str) -> list[str]:
    return [word for one in text.split(",") if (word := one.strip())]


def _bring_up(ctx: click.Context, night: Night, wanted: Plan) -> int:
    """A cluster for each network that has faults left; the first exit code that is not 0."""
    from harness.model.run import RunDir  # noqa: PLC0415

    whole = Whole(ctx, silent=True)
    code = 0
    for number, variant in enumerate(wanted.variants, start=1):
        left = night.left(variant, wanted)
        say(f"=== {variant}: network {number} of {len(wanted.variants)}, {len(left)} faults")
        if not left:
            continue
        name, place = f"mutate-{variant}", night.free(variant)
        try:
            failed = whole.do(
                "up", variant, "--name", name, "--nodes", str(wanted.nodes), "--run-dir", str(place), "--replace"
            )
            if not failed:
                _run(attached(name), RunDir(place), left, explain=wanted.explain)
                whole.do("report", str(place))
        finally:
            gone = whole.do("down", name) if (place / "run.json").exists() else 0
        code = code or failed or gone
    return code


def _with(there: Attached, night: Night, wanted: Plan) -> int:
    """All faults that are left, on a cluster that is there and stays."""
    from harness.cli.runs import require_run  # noqa: PLC0415
    from harness.model.run import RunDir  # noqa: PLC0415

    if [there.spec.cni] != list(wanted.variants):
        msg = f"cluster '{there.lab.name}' has {there.spec.cni}, and the run is about {', '.join(wanted.variants)}"
        raise UsageError(msg, next_step="name a cluster with that network, or leave --cluster out")
    if left := night.left(there.spec.cni, wanted):
        run = RunDir(night.free(there.spec.cni))
        run.write_info(require_run(there).info())
        _run(there, run, left, explain=wanted.explain)
    return 0


def _run(there: Attached, run: RunDir, left: Sequence[str], *, explain: bool) -> None:
    from harness.cli.runs import finish  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.faults.run import Wish, run_faults  # noqa: PLC0415

    with progress() as listener:
        run_faults(there, run, Journal(run, listener), Wish(tuple(left), everyone=True, explain=explain))
    finish(run)


def _conclude(night: Night, wanted: Plan, target: Path | None, output: str) -> int:
    """Print the table, write the page, and say what is new."""
    from harness.faults.catalogue import faults  # noqa: PLC0415
    from harness.model.mutation import MutationTable  # noqa: PLC0415
    from harness.steps.mutation.gather import write  # noqa: PLC0415
    from harness.steps.mutation.page import summary  # noqa: PLC0415
    from harness.steps.mutation.table import bad  # noqa: PLC0415

    columns = night.columns(wanted.variants)
    table = write(target, columns) if target is not None else MutationTable(columns=tuple(columns))
    emit(_listing(columns, table, night.path), output)
    say(summary(table, faults()))
    return int(any(bad(cell) for one in columns for cell in one.cells))


def _listing(columns: Sequence[Column], table: MutationTable, directory: Path) -> Listing:
    rows = [
        (
            one.variant,
            cell.fault,
            cell.outcome,
            ",".join(cell.killed_by) or "-",
            str(len(cell.beside)),
            ",".join((*cell.survived, *cell.imprecise)) or cell.reason or "-",
        )
        for one in columns
        for cell in one.cells
    ]
    items = [{"variant": one.variant, **json.loads(cell.model_dump_json())} for one in columns for cell in one.cells]
    extra = {"directory": str(directory), "changes": list(table.changes)}
    names = [f"mutation/{one.variant}/{cell.fault}" for one in columns for cell in one.cells]
    columns_ = ("network", "fault", "outcome", "killed by", "beside", "not as it should be")
    return Listing("Mutation", columns_, rows, items, names=names, extra=extra)
