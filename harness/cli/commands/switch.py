"""`cnilab switch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.command import command as define
from harness.cli.context import say, settings
from harness.cli.output import Listing, emit, output_option
from harness.cli.progress import progress
from harness.cli.select import attached, cluster_option
from harness.cli.spec_options import checked_version, version_option
from harness.errors import CnilabError, TearDownError, UsageError

if TYPE_CHECKING:
    from harness.model.journal import Journal
    from harness.model.run import RunDir
    from harness.model.spec import LabSpec
    from harness.steps.lifecycle.attach import Attached
    from harness.steps.network.switch import Switched


@define(
    "switch",
    examples="""
    cnilab switch cilium
    cnilab switch flannel --cluster monday
    cnilab switch cilium-vxlan -o json && cnilab test
    cnilab switch flannel --cni-version 0.27.4
    """,
)
@click.argument("variant")
@cluster_option()
@version_option
@click.option("--run-dir", type=click.Path(path_type=Path), help="Run directory.  [default: ./.runs/<time>-<name>]")
@output_option()
def command(*, variant: str, cluster: str | None, cni_version: str | None, run_dir: Path | None, output: str) -> None:
    """Give a running cluster another pod network, or another version of it, on the same nodes.

    First the pods are deleted, then the agents of the old network and everything that they made. When no trace of the
    old network is left on any node, the new one comes up. Pods without a controller are created again from copies.
    Later measurements go to a new run directory. Exit code 12 means that something of the old network is left; it is
    listed. If the command fails on the way, run it again: it continues from there.
    """
    there = attached(cluster)
    from harness.cli.runs import finish, new_run  # noqa: PLC0415
    from harness.cni.catalogue import variant as load_variant  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.network.switch import check, target_spec  # noqa: PLC0415

    chosen = load_variant(variant)
    if not chosen.kubernetes:
        msg = f"'{variant}' is no pod network"
        raise UsageError(msg, next_step="'cnilab render VARIANT' shows each network")
    version = checked_version(variant, cni_version)
    name = there.spec.name
    with progress() as listener:
        with Journal(None, listener).step("switch.check", f"check the switch from {there.variant.name} to {variant}"):
            check(there, chosen, cache=settings().cache, version=version)
        words = [there.variant.name, "--name", name]
        target = target_spec(there.spec, chosen, version)
        run = new_run(target, words, run_dir)
        journal = Journal(run, listener)
        try:
            done = _switch(there, target, run, journal)
        except (CnilabError, KeyboardInterrupt) as error:
            finish(run, error if isinstance(error, CnilabError) else CnilabError("interrupted"))
            if isinstance(error, CnilabError):
                same = " ".join(("cnilab switch", variant, "--cluster", name, *_words(version)))
                again = f"'{same}' continues from there; 'cnilab down {name}' removes the cluster"
                error.next_step = "\n".join(filter(None, [error.next_step, again]))
            raise
        finish(run, command=("cnilab", "switch", variant, *_words(version)))
    emit(_listing(there, done, run), output)
    say(f"Cluster '{name}' has the network {variant}. Run directory: {run.path}")
    if done.left:
        msg = f"parts of {there.variant.name} are left"
        raise TearDownError(
            msg,
            cause="\n".join(str(one) for one in done.left[:20]),
            where=str(run.path / "switch/between.json"),
            next_step="things that you made on a node yourself count too: remove them by hand",
        )


def _words(version: str) -> tuple[str, ...]:
    return ("--cni-version", version) if version else ()


def _switch(there: Attached, target: LabSpec, run: RunDir, journal: Journal) -> Switched:
    from harness.cli.stores import noted_store  # noqa: PLC0415
    from harness.cni.catalogue import variant as load_variant  # noqa: PLC0415
    from harness.model.labstate import LabDir  # noqa: PLC0415
    from harness.providers.registry import known_state  # noqa: PLC0415
    from harness.steps.network.switch import switch  # noqa: PLC0415

    state = known_state(LabDir(there.state, there.spec.name))
    own = {name: Path(path) for name, path in state.own.items()} if state else {}
    own = {name: path for name, path in own.items() if path.is_file()}
    with noted_store(target, run, journal, own) as store:
        variant = load_variant(target.cni)
        return switch(there, variant, run=run, journal=journal, store=store, version=target.cni_version)


def _listing(there: Attached, done: Switched, run: RunDir) -> Listing:
    left = {name: [one for one in done.left if one.node == name] for name in (*done.removed, "api")}
    rows = [
        (name, str(len(done.removed.get(name, ()))), str(len(ours)))
        for name, ours in left.items()
        if ours or name != "api"
    ]
    items = [
        {
            "node": name,
            "commands": done.removed.get(name, []),
            "left": [{"kind": one.kind, "what": one.what} for one in ours],
        }
        for name, ours in left.items()
    ]
    extra = {
        "lab": there.spec.name,
        "from": there.variant.name,
        "to": done.ready.variant.name,
        "pods": done.moved,
        "run": str(run.path),
    }
    return Listing("SwitchedNode", ("node", "commands", "left"), rows, items, extra=extra)
