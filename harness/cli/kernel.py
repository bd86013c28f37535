"""Labs under another kernel: the same words, run in the lab's machine."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.context import WORDS, say, settings
from harness.cli.interrupt import unbounded
from harness.cli.progress import progress
from harness.cli.select import lives_in_machine, names
from harness.cli.stores import store_for
from harness.errors import CnilabError

if TYPE_CHECKING:
    from harness.model.journal import Journal
    from harness.model.spec import LabSpec
    from harness.steps.kernel import Inside

GOODBYE = 60.0
"""Seconds, before scaling, that a lab inside has for going down by itself; it ends with its machine in any case."""

CLEANING = 300.0
"""Seconds, before scaling, that a command inside has for its cleaning up after an interrupt."""

LAST_WORDS = 3.0
"""Seconds, before scaling, that a bring-up inside has for its last words after an interrupt. It need not clean up."""


def redirected(ctx: click.Context) -> int | None:
    """Run a command where its lab is.

    Args:
        ctx: Of a command on a lab.

    Returns:
        Its exit code; None when the lab is on this machine, and the command has yet to run.
    """
    if ctx.params.get("kubeconfig") is not None:
        return None  # it is about a cluster that is no lab
    lab: str | None = ctx.params.get("lab")
    known = names()
    name = lab or (known[0] if len(known) == 1 else None)
    if name is None or name not in known or not lives_in_machine(name):
        return None  # also where there is no such lab: the command itself says it best
    from harness.steps.kernel import find  # noqa: PLC0415 - the help must not wait for pydantic

    inside = find(settings().state, name)
    if inside is None:
        return None
    interactive = ctx.command.name == "exec"
    tty = interactive and os.isatty(0) and os.isatty(1)
    from harness.providers.vm.channel import Patience  # noqa: PLC0415

    # After an interrupt it cleans up in there, where seconds are longer, and bounds that itself; unless it hangs.
    patience = Patience(interrupted=CLEANING, on_interrupt=unbounded)
    if tty:
        with _raw_terminal():
            return inside.cnilab(ctx.meta[WORDS], stdin=0, tty=True, patience=patience)
    return inside.cnilab(ctx.meta[WORDS], stdin=0 if interactive else None, patience=patience)


class _raw_terminal:  # noqa: N801 - used as a statement
    """What is typed goes to the other side as it is, Ctrl-C included."""

    def __enter__(self) -> None:
        import termios  # noqa: PLC0415
        import tty  # noqa: PLC0415

        self._before: list[Any] = termios.tcgetattr(0)
        tty.setraw(0)

    def __exit__(self, *exception: object) -> None:
        import termios  # noqa: PLC0415

        termios.tcsetattr(0, termios.TCSADRAIN, self._before)


def bring_up(
    spec: LabSpec, words: list[str], run_dir: Path | None, own: dict[str, Path], *, replace: bool, retain: bool
) -> int:
    """`up --kernel`: start a machine with that kernel, and bring the lab up in it.

    Args:
        spec: The lab.
        words: As the user gave them.
        run_dir: Run directory, if the user named one.
        own: Programs that the user brought.
        replace: Take down an earlier lab of that name first.
        retain: Keep what is there when bring-up fails.

    Returns:
        The exit code.
    """
    from harness.cli.down import remove  # noqa: PLC0415
    from harness.cli.runs import point_latest_at, run_path  # noqa: PLC0415
    from harness.cni.catalogue import variant  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.providers.vm.channel import Patience  # noqa: PLC0415
    from harness.steps import kernel  # noqa: PLC0415
    from harness.steps.doctor import programs  # noqa: PLC0415
    from harness.steps.down import made_by_this_process  # noqa: PLC0415
    from harness.steps.needs import images  # noqa: PLC0415

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
            inside = kernel.start(spec, run, store, settings().state, journal, images(variant(spec.cni)))
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
        # What it says on standard output is the path of a kubeconfig that is good in there.
        patience = Patience(interrupted=None if retain else LAST_WORDS)
        code = inside.cnilab([*words, "--run-dir", str(run)], out=io.StringIO(), patience=patience)
        kubeconfig = None if code else kernel.adopt(inside)
    finally:
        if kubeconfig is None:
            kernel.keep_logs(settings().state, spec.name, run)
            if not retain:
                with progress() as listener:
                    _end(spec.name, Journal(None, listener))
    if kubeconfig is not None:
        click.echo(f"export KUBECONFIG={kubeconfig}")
    return code


def _end(name: str, journal: Journal) -> None:
    """Remove a machine whose lab did not come up: what is in there ends with it, and nobody asks what it leaves."""
    from harness.steps.down import tear_down  # noqa: PLC0415

    for what in tear_down(settings().state, name, journal):
        click.echo(f"left over: {what}", err=True)


def examine(spec: LabSpec, words: list[str]) -> int:
    """`doctor --kernel`: the checks, in a machine that is there for nothing else.

    Returns:
        The exit code.
    """
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps import kernel  # noqa: PLC0415

    spec = spec.model_copy(update={"name": f"doctor-{os.getpid()}"})
    with progress() as listener:
        journal = Journal(None, listener)
        with kernel.passing(spec, store_for(spec, journal), settings().state, journal) as inside:
            sys.stdout.flush()
            return inside.cnilab(words)


def leave(name: str) -> None:
    """Before a lab's machine is ended: take the lab inside down, and let it say what it leaves there.

    That tells of bugs; nothing of it can outlive the machine.
    """
    if not lives_in_machine(name):
        return
    from harness.providers.vm.channel import Patience  # noqa: PLC0415
    from harness.steps.kernel import find  # noqa: PLC0415

    inside: Inside | None = find(settings().state, name)
    if inside is None or not inside.answers():
        return
    try:
        code = inside.cnilab(["--quiet", "down", name], patience=Patience(GOODBYE, interrupted=0.0))
    except CnilabError as error:
        say(f"{error.what}; it is ended as it is")
        return
    if code:
        say(f"'cnilab down' in the virtual machine of lab '{name}' ended with {code}")
