"""`cnilab collect`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.command import command as define
from harness.cli.context import checked_name, say, settings
from harness.cli.progress import progress
from harness.cli.select import chosen, lab_option, names
from harness.errors import BringUpError


@define(
    "collect",
    on_lab=True,
    examples="""
    cnilab collect
    cnilab collect --lab monday
    grep -rn 'no route to host' "$(cnilab collect -q)"
    """,
)
@lab_option()
def command(*, lab: str | None) -> None:
    """Collect logs of all services and pods, API objects and kernel state into the run directory.

    Tokens, keys and passwords are removed. The command prints the directory. If a lab failed to come up, its logs were
    collected then, and this command only prints the directory.
    """
    from harness.cli.runs import finish, last_run  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.model.labstate import LabDir, LabState, read  # noqa: PLC0415
    from harness.model.run import RunDir  # noqa: PLC0415
    from harness.steps.lifecycle.collect import collect  # noqa: PLC0415

    if lab is not None and checked_name(lab) not in names():
        run = last_run(lab)
        if run is None or not (run.path / "logs").is_dir():
            msg = f"there is no lab '{lab}', and no run of it here"
            raise BringUpError(msg, next_step=f"cnilab up --name {lab}")
        say(f"Lab '{lab}' is not up. Its last run collected:")
        click.echo(str(run.path / "logs"))
        return
    name = chosen(lab)
    known = read(LabDir(settings().state, name), LabState)
    run = RunDir(Path(known.run)) if known is not None and known.run else last_run(name)
    if run is None:
        msg = f"lab '{name}' has no run directory"
        raise BringUpError(msg, next_step=f"cnilab down {name}, then cnilab up")
    with progress() as listener:
        collect(name, settings().state, run, Journal(run, listener))
    finish(run)
    click.echo(str(run.path / "logs"))
