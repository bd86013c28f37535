"""`cnilab down`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.command import Option
from harness.cli.command import command as define
from harness.cli.context import checked_name, say, settings
from harness.cli.existing import down_cluster
from harness.cli.progress import progress
from harness.cli.select import names
from harness.errors import TearDownError, UsageError

if TYPE_CHECKING:
    from harness.model.journal import Journal


def remove(name: str, journal: Journal) -> list[str]:
    """Take a cluster down, if it is there.

    Returns:
        What is left of it, in words; empty is good.
    """
    from harness.cli.inside import leave  # noqa: PLC0415
    from harness.steps.lifecycle.down import tear_down, without_state  # noqa: PLC0415

    if name in names():
        leave(name)
    elif name not in without_state(settings().state):
        return []
    return tear_down(settings().state, name, journal)


@define(
    "down",
    examples="""
    cnilab down
    cnilab down monday tuesday
    cnilab down --all
    cnilab down --kubeconfig ~/.kube/config
    """,
)
@click.argument("clusters", metavar="[CLUSTER]...", nargs=-1)
@click.option(
    "--all",
    "everything",
    cls=Option,
    is_flag=True,
    help="Remove every cluster of this state directory; with --kubeconfig, every run.",
)
@down_cluster
def command(clusters: tuple[str, ...], *, everything: bool) -> None:
    """Remove a cluster and everything that it made: processes, namespaces, mounts, cgroups, files.

    This works in any state of the cluster, also after a crash, and if its directory is gone. It is not an error if the
    cluster does not exist. The run directory stays. Exit code 12 means that something could not be removed; it is
    listed.
    """
    from harness.steps.lifecycle.down import without_state  # noqa: PLC0415

    known = [*names(), *without_state(settings().state)]
    if everything and clusters:
        msg = "give names or --all, but not both"
        raise click.UsageError(msg)
    chosen = [checked_name(name) for name in clusters] or known
    if len(chosen) > 1 and not everything and not clusters:
        msg = "there are several clusters"
        raise UsageError(msg, cause=", ".join(known), next_step="name the clusters to remove, or give --all")
    if not chosen:
        say("No cluster is up.")
    from harness.model.journal import Journal  # noqa: PLC0415

    left: list[str] = []
    with progress() as listener:
        for name in chosen:
            remains = remove(name, Journal(None, listener))
            left += [f"{name}: {what}" for what in remains]
            if not remains:
                say(f"Cluster '{name}' is {'down' if name in known else 'not up'}.")
    if left:
        msg = "something is left over"
        raise TearDownError(msg, cause="\n".join(left), next_step="run it again; then: cnilab doctor")
