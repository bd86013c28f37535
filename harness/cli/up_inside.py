"""`cnilab up --kernel`: a machine with that kernel, and the cluster in it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.context import say, settings
from harness.cli.inside import program
from harness.cli.output import export_line
from harness.cli.progress import progress
from harness.cli.stores import store_for
from harness.errors import CnilabError

if TYPE_CHECKING:
    from harness.cli.spec_options import Asked
    from harness.model.journal import Journal

HANDED_OVER = "asked.json"
"""Of the run directory: the cluster that was asked for, for the program inside."""

LAST_WORDS = 3.0
"""Seconds, before scaling, that a bring-up inside has for its last words after an interrupt. It need not clean up."""


def bring_up(
    asked: Asked, words: list[str], run_dir: Path | None, own: dict[str, Path], *, replace: bool, retain: bool
) -> int:
    """`up --kernel`: start a machine with that kernel, and bring the cluster up in it.

    Args:
        asked: The cluster.
        words: Of `up` in there, without those that say what the cluster is.
        run_dir: Run directory, if the user named one.
        own: Programs that the user brought.
        replace: Take down an earlier cluster of that name first.
        retain: Keep the cluster if the bring-up fails.

    Returns:
        The exit code.
    """
    from harness.cli.commands.down import remove  # noqa: PLC0415
    from harness.cli.runs import point_latest_at, run_path  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.providers.needs import needs  # noqa: PLC0415
    from harness.steps.doctor.examine import programs  # noqa: PLC0415
    from harness.steps.kernel import inside as kernel  # noqa: PLC0415
    from harness.steps.lifecycle.down import made_by_this_process  # noqa: PLC0415
    from harness.vm.channel import Patience  # noqa: PLC0415

    spec = asked.spec
    run = run_path(spec, run_dir)
    with progress() as listener:
        journal = Journal(None, listener)
        if replace:
            remove(spec.name, journal)
        try:
            store = store_for(spec, journal)
            store.own.update(own)
            # Programs in the machine are those of this one, and nothing can be installed there.
            store.tools.install(*programs(spec))
            inside = kernel.start(spec, run, store, settings().state, journal, program(), needs(spec, store))
        except (CnilabError, KeyboardInterrupt) as error:
            if made_by_this_process(settings().state, spec.name) and not retain:
                kept = kernel.keep_logs(settings().state, spec.name, run)
                if isinstance(error, CnilabError) and error.log:
                    error.log = str(kept / Path(error.log).name)
                _end(spec.name, journal)
            raise
    point_latest_at(run)
    say(f"In the virtual machine ({inside.state.release}, {inside.state.accelerator}):")
    kubeconfig = None
    try:
        # The run directory is decided here, since only that one is shared; of two, the last one counts.
        handed_over = run / HANDED_OVER
        asked.write(handed_over)
        # What it says on standard output is the path of a kubeconfig that is good in there.
        patience = Patience(interrupted=None if retain else LAST_WORDS)
        code = inside.cnilab(
            [*words, "--handed-over", str(handed_over), "--run-dir", str(run)], out=io.StringIO(), patience=patience
        )
        kubeconfig = None if code else kernel.adopt(inside)
    finally:
        if kubeconfig is None:
            kernel.keep_logs(settings().state, spec.name, run)
            if not retain:
                with progress() as listener:
                    _end(spec.name, Journal(None, listener))
    if kubeconfig is not None:
        click.echo(export_line(kubeconfig))
    return code


def _end(name: str, journal: Journal) -> None:
    """Remove a machine whose cluster did not come up: what is in there ends with it, and nobody asks what it leaves."""
    from harness.steps.lifecycle.down import tear_down  # noqa: PLC0415

    for what in tear_down(settings().state, name, journal):
        click.echo(f"left over: {what}", err=True)
