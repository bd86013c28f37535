"""Clusters under another kernel: the same words, run in the cluster's machine."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from harness.cli.context import WORDS, say, settings
from harness.cli.interrupt import unbounded
from harness.cli.program import ARGV, MODULES
from harness.cli.progress import progress
from harness.cli.select import lives_in_machine, names
from harness.cli.stores import store_for
from harness.errors import CnilabError

if TYPE_CHECKING:
    from harness.model.spec import LabSpec
    from harness.steps.kernel.inside import Inside, Program

GOODBYE = 60.0
"""Seconds, before scaling, that a cluster inside has for going down by itself; it ends with its machine in any case."""

CLEANING = 300.0
"""Seconds, before scaling, that a command inside has for its cleaning up after an interrupt."""


def program() -> Program:
    """This program, for a cluster's machine."""
    from harness.components import mirrors  # noqa: PLC0415 - the help must not wait for pydantic
    from harness.steps.kernel.inside import Program  # noqa: PLC0415

    return Program(ARGV, MODULES, {mirrors.VARIABLE: " ".join(mirrors.words(settings().mirrors))})


def redirected(ctx: click.Context) -> int | None:
    """Run a command where its cluster is.

    Args:
        ctx: Of a command on a cluster.

    Returns:
        Its exit code; None when the cluster is on this machine, and the command has yet to run.
    """
    if ctx.params.get("kubeconfig") is not None:
        return None  # it is about an existing cluster
    cluster: str | None = ctx.params.get("cluster")
    known = names()
    name = cluster or (known[0] if len(known) == 1 else None)
    if name is None or name not in known or not lives_in_machine(name):
        return None  # also where there is no such cluster: the command itself says it best
    from harness.steps.kernel.inside import find  # noqa: PLC0415 - the help must not wait for pydantic

    inside = find(settings().state, name, program())
    if inside is None:
        return None
    interactive = ctx.command.name == "exec"
    tty = interactive and os.isatty(0) and os.isatty(1)
    from harness.vm.channel import Patience  # noqa: PLC0415

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


def examine(spec: LabSpec, words: list[str]) -> int:
    """`doctor --kernel`: the checks, in a machine that is there for nothing else.

    Returns:
        The exit code.
    """
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.kernel import inside as kernel  # noqa: PLC0415

    spec = spec.model_copy(update={"name": f"doctor-{os.getpid()}"})
    with progress() as listener:
        journal = Journal(None, listener)
        with kernel.passing(spec, store_for(spec, journal), settings().state, journal, program()) as inside:
            sys.stdout.flush()
            return inside.cnilab(words)


def leave(name: str) -> None:
    """Before a cluster's machine is ended: take the cluster inside down, and let it say what it leaves there.

    That tells of bugs; nothing of it can outlive the machine.
    """
    if not lives_in_machine(name):
        return
    from harness.steps.kernel.inside import find  # noqa: PLC0415
    from harness.vm.channel import Patience  # noqa: PLC0415

    inside: Inside | None = find(settings().state, name, program())
    if inside is None or not inside.answers():
        return
    try:
        code = inside.cnilab(["--quiet", "down", name], patience=Patience(GOODBYE, interrupted=0.0))
    except CnilabError as error:
        say(f"{error.what}; it is stopped without that")
        return
    if code:
        say(f"'cnilab down' in the virtual machine of cluster '{name}' ended with {code}")
