"""`cnilab collect`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.command import command as define
from harness.cli.context import checked_name, say, settings
from harness.cli.progress import progress
from harness.cli.select import chosen, cluster_option, names
from harness.errors import BringUpError


@define(
    "collect",
    on_lab=True,
    examples="""
    cnilab collect
    cnilab collect --cluster monday
    grep -rn 'no route to host' "$(cnilab collect -q)"
    """,
)
@cluster_option()
def command(*, cluster: str | None) -> None:
    """Collect logs of all services and pods, API objects and kernel state into the run directory.

    Tokens, keys and passwords are removed. The command prints the directory. If a cluster failed to come up, its logs
    were collected then, and this command only prints the directory.
    """
    from harness.cli.runs import finish, last_run  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.model.labstate import LabDir, LabState, read  # noqa: PLC0415
    from harness.model.run import RunDir  # noqa: PLC0415
    from harness.steps.lifecycle.collect import collect  # noqa: PLC0415

    if cluster is not None and checked_name(cluster) not in names():
        run = last_run(cluster)
        if run is None or not (run.path / "logs").is_dir():
            msg = f"there is no cluster '{cluster}', and no run of it here"
            raise BringUpError(msg, next_step=f"cnilab up --name {cluster}")
        say(f"Cluster '{cluster}' is not up. Its last run collected:")
        click.echo(str(run.path / "logs"))
        return
    name = chosen(cluster)
    known = read(LabDir(settings().state, name), LabState)
    run = RunDir(Path(known.run)) if known is not None and known.run else last_run(name)
    if run is None:
        msg = f"cluster '{name}' has no run directory"
        raise BringUpError(msg, next_step=f"cnilab down {name}, then cnilab up")
    with progress() as listener:
        collect(name, settings().state, run, Journal(run, listener))
    finish(run)
    click.echo(str(run.path / "logs"))
