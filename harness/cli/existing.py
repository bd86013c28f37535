"""Commands on a cluster that nobody here built: `--kubeconfig` of `test`, `doctor` and `down`."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.context import say, shown
from harness.cli.output import Listing, emit
from harness.cli.progress import progress
from harness.cli.verdicts import conclude
from harness.errors import CnilabError, PreflightError, UsageError

if TYPE_CHECKING:
    from harness.model.journal import Journal
    from harness.model.run import RunDir
    from harness.steps.existing.preflight import Survey, Wish

Given = dict[str, Any]
Handler = Callable[[Given, Given], int | None]

_CLUSTER = (
    click.option(
        "--kubeconfig",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Use this existing cluster, which cnilab did not make.",
    ),
    click.option("--context", metavar="NAME", help="With --kubeconfig: use this context, not the current one."),
)
_WHERE = (
    *_CLUSTER,
    click.option(
        "--namespace",
        metavar="NAME",
        help="With --kubeconfig: use this namespace and create none. A Role is enough.",
    ),
)
_WHAT = (
    click.option("--sample", type=int, help="With --kubeconfig: number of nodes to examine.  [default: 10]"),
    click.option("--seed", type=int, help="With --kubeconfig: seed of the choice of nodes.  [default: 1]"),
    click.option("--pods-only", is_flag=True, help="With --kubeconfig: run no privileged probes on nodes."),
)
_IMAGES = (
    click.option("--network", metavar="VARIANT", help="With --kubeconfig: the cluster's network, if you know it."),
    click.option(
        "--image",
        metavar="REFERENCE",
        help="With --kubeconfig: an image with a shell, or the responder image.  [default: one that nodes have]",
    ),
    click.option(
        "--node-image",
        metavar="REFERENCE",
        help="With --kubeconfig: image of the toolbox for nodes. Without it the toolbox is sent.",
    ),
)
_RUN = (
    *_IMAGES,
    click.option(
        "--run-dir", type=click.Path(file_okay=False, path_type=Path), help="With --kubeconfig: the run directory."
    ),
)


def on_cluster(handler: Handler, *options: Callable[[Any], Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of a cluster; with --kubeconfig, the handler runs instead of the command.

    Args:
        handler: Gets the cluster's options, and the command's own.
        *options: Of the cluster.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(**given: Any) -> Any:
            mine = {key: given.pop(key) for key in names}
            if mine["kubeconfig"] is not None:
                return handler(mine, given)
            strays = [f"--{key.replace('_', '-')}" for key, value in mine.items() if value not in {None, False}]
            if strays:
                msg = f"{strays[0]} needs --kubeconfig"
                raise click.UsageError(msg)
            return function(**given)

        for option in reversed(options):
            run = option(run)
        names = [param.name for param in getattr(run, "__click_params__", ())[-len(options) :]]
        return run

    return decorate


def wish(given: Given) -> Wish:
    """What a user asks for with the options of a cluster.

    Args:
        given: Them.
    """
    from harness.steps.existing.preflight import Wish  # noqa: PLC0415 - the help must not wait for it

    known = {"network": "cni"}
    return Wish(
        **{known.get(key, key): value for key, value in given.items() if value is not None and key != "run_dir"}
    )


def not_with(own: Given, **options: str) -> None:
    """Refuse a command's own options that have no meaning on an existing cluster.

    Args:
        own: All of them.
        **options: How those are written.
    """
    for name, option in options.items():
        if own.get(name):
            msg = f"{option} is for clusters that cnilab made, and cannot be used with --kubeconfig"
            raise click.UsageError(msg)


def _test(given: Given, own: Given) -> int:
    """`cnilab test --kubeconfig`."""
    not_with(
        own, cluster="--cluster", disruptive="--disruptive", faults="--faults", only="--fault", explain="--explain"
    )
    from harness.cli.runs import finish  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.existing.preflight import examine  # noqa: PLC0415
    from harness.steps.existing.run import run_existing  # noqa: PLC0415

    with progress() as listener:
        journal = Journal(None, listener)
        with journal.step("existing.preflight", "cluster access, permissions and nodes"):
            found = examine(wish(given))
        if found.blocked is not None:
            raise found.blocked
        run = _new_run(found, given["run_dir"], own)
        failure: CnilabError | None = None
        try:
            told = Journal(run, listener)
            program = functools.partial(_sent, run, told)
            results = run_existing(found, run, told, program, select=own["select"], strict=own["strict"])
        except CnilabError as error:
            failure = error
            raise
        finally:
            finish(run, failure)
    say(f"Run directory: {run.path}")
    return conclude(results, run.causes(), own["output"], strict=own["strict"])


def _sent(run: RunDir, journal: Journal, what: str) -> Path:
    """What goes into pods of other images: the responder, or packed programs for probes on nodes."""
    from harness.cli.stores import noted_store  # noqa: PLC0415
    from harness.components.images import kit  # noqa: PLC0415
    from harness.model.spec import LabSpec  # noqa: PLC0415

    with noted_store(LabSpec(), run, journal) as store:
        return kit(store) if what == "kit" else store.ensure(["responder"])["responder"].path


def sent(journal: Journal, what: str) -> Path:
    """The same for a command that writes no run directory.

    Args:
        journal: Told of downloads and builds.
        what: responder or kit.
    """
    from harness.cli.stores import store_for  # noqa: PLC0415
    from harness.components.images import kit  # noqa: PLC0415
    from harness.model.spec import LabSpec  # noqa: PLC0415

    store = store_for(LabSpec(), journal)
    return kit(store) if what == "kit" else store.ensure(["responder"])["responder"].path


def _new_run(found: Survey, where: Path | None, own: Given) -> RunDir:
    from harness.cli.runs import new_run  # noqa: PLC0415
    from harness.steps.existing.described import described_before  # noqa: PLC0415

    run = new_run(described_before(found), [], where)
    asked = found.wish
    words = ["cnilab", "test", "--kubeconfig", str(asked.kubeconfig), "--context", found.access.context]
    words += ["--sample", str(asked.sample), "--seed", str(asked.seed), *(["--pods-only"] if asked.pods_only else [])]
    said = {
        "--namespace": asked.namespace,
        "--image": asked.image,
        "--node-image": asked.node_image,
        "--network": asked.cni,
        "--select": own["select"],
    }
    words += [word for option, value in said.items() if value for word in (option, value)]
    words += ["--strict"] if own["strict"] else []
    run.write_info(run.info().model_copy(update={"reproduce": shlex.join(words)}))
    return run


def _doctor(given: Given, own: Given) -> int:
    """`cnilab doctor --kubeconfig`."""
    from harness.steps.existing.preflight import examine, rows  # noqa: PLC0415

    found = examine(wish(given | {"network": own.get("cni")}))
    table = rows(found)
    items = [vars(row) for row in table]
    lines = [(row.title, row.status, row.detail, row.consequence or "-") for row in table]
    emit(
        Listing("Finding", ("check", "status", "found", "consequence"), lines, items, [f"check/{r.id}" for r in table]),
        own["output"],
    )
    blocks = sum(row.status == "blocks" for row in table)
    if own["output"] in {"table", "wide"}:
        limits = sum(row.status == "limits" for row in table)
        say(
            f"{blocks} of {len(table)} checks block: the suite cannot run there yet."
            if blocks
            else f"The suite can run there ({limits} checks limit it)."
        )
    return PreflightError.exit_code if blocks else 0


def _down(given: Given, own: Given) -> None:
    """`cnilab down --kubeconfig`."""
    if own["clusters"]:
        msg = "names are for clusters that cnilab made, and cannot be used with --kubeconfig"
        raise click.UsageError(msg)
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.existing.preflight import examine  # noqa: PLC0415
    from harness.steps.existing.run import clear_leftovers  # noqa: PLC0415

    found = examine(wish(given))
    if not given["namespace"] and not found.rights.has("namespaces"):
        msg = "this user may not list namespaces to find runs"
        raise UsageError(
            msg, cause=found.rights.why("namespaces"), next_step="give the namespace of the run with --namespace"
        )
    with progress() as listener:
        gone = clear_leftovers(found, Journal(None, listener), everybody=own["everything"])
    where = shown(found.access.server, 200)
    say(
        f"Removed leftovers of {len(gone)} runs at {where}: {', '.join(gone)}."
        if gone
        else f"Nothing is left at {where}."
    )


def why_cluster(handler: Handler) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of a cluster for `cnilab why`, which works in no namespace of the user's and writes no run directory.

    Args:
        handler: Of the command with --kubeconfig.
    """
    return on_cluster(handler, *_CLUSTER, *_WHAT, *_IMAGES)


test_cluster = on_cluster(_test, *_WHERE, *_WHAT, *_RUN)
doctor_cluster = on_cluster(_doctor, *_WHERE, *_WHAT)
down_cluster = on_cluster(_down, *_WHERE)
