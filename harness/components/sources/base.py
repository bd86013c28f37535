"""What all sources share: the protocol, and the desk on which they work."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Protocol

from harness import timeouts
from harness.components.lock import Component
from harness.components.versions import accepts, find_version
from harness.errors import CnilabError
from harness.runner import Argv, CommandError, Completed, Runner, stop


class CancelledError(CnilabError):
    """Another component failed, or the user gave up: work was stopped and left nothing behind."""

    exit_code = 10


@dataclass(frozen=True)
class Refused:
    """Why a source cannot deliver a component here and now.

    Args:
        reason: As a sentence of the final error.
        remedy: What would make the source able to, if the user can do something.
    """

    reason: str
    remedy: str = ""


@dataclass(frozen=True)
class Delivered:
    """What a source put on the desk.

    Args:
        version: As found, which may differ from the pinned one within the accepted range.
        origin: From where exactly: a URL, a package with its version, paths, a compiler.
        watch: Files of the machine that these are copies of; when they change the copies are stale.
    """

    version: str
    origin: str
    watch: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Desk:
    """Where a source works on one component; nobody else does at the same time.

    Args:
        files: Empty directory: delivered programs go here, executable, under their names.
        scratch: Empty directory for everything else; thrown away afterwards.
        runner: Runs programs on this machine.
        say: Tells the user how far it is; may be called as often as there is something new.
        cancelled: Set when the work should stop.
    """

    files: Path
    scratch: Path
    runner: Runner
    say: Callable[[str], None]
    cancelled: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Stop here if the work was cancelled.

        Raises:
            CancelledError: It was.
        """
        if self.cancelled.is_set():
            msg = "stopped"
            raise CancelledError(msg)


class Source(Protocol):
    """One way to get components."""

    name: ClassVar[str]

    def deliver(self, component: Component, desk: Desk) -> Delivered | Refused:
        """Put a component's programs on the desk, or say why that is impossible.

        Args:
            component: What is wanted.
            desk: Where to work.
        """
        ...


def probe_version(runner: Runner, argv: Argv, env: Mapping[str, str] = MappingProxyType({})) -> str:
    """The version that a program prints; empty when it fails or prints none.

    Args:
        runner: Runs it.
        argv: Program and arguments.
        env: Variables added to the environment.
    """
    try:
        done = runner.run(argv, env=env)
    except CommandError:
        return ""
    return find_version(done.stdout) or find_version(done.stderr)


def examine(component: Component, desk: Desk) -> str | Refused:
    """Run what was delivered: the version it prints, or why it is of no use here.

    Args:
        component: Says how to ask and what to accept. One that does not say how is taken at its word.
        desk: Has the programs.
    """
    if not component.probe:
        return component.pinned
    program, *arguments = component.probe
    path = desk.files / program
    path.chmod(0o755)
    version = probe_version(desk.runner, (path, *arguments))
    if not version:
        done = desk.runner.run((path, *arguments), check=False)
        return Refused(f"{program} does not run here: {done.tail(1)}")
    if not accepts(component.accept, version):
        return Refused(f"{program} is version {version}, but {component.accept} is needed")
    return version


def run_long(
    desk: Desk,
    argv: Argv,
    *,
    deadline: float,
    env: dict[str, str],
    cwd: Path,
    log: Path,
    describe: Callable[[list[str]], str],
) -> Completed:
    """Run a program that takes minutes, stopping it when the work is cancelled.

    Args:
        desk: Told how far it is.
        argv: Program and arguments.
        deadline: Seconds, before scaling.
        env: Variables added to the environment.
        cwd: Working directory.
        log: Gets what the program prints.
        describe: Makes words of the lines printed so far.

    Raises:
        CancelledError: The work was cancelled; the program is gone.
        CommandError: It took too long.
    """
    # setpriv: when this process is killed, a build must not go on in a directory that the next run throws away.
    vector = ("env", "-C", str(cwd), "setpriv", "--pdeathsig", "TERM", *argv)
    with log.open("wb") as out:
        process = desk.runner.start(vector, stdout=out, stderr=out, env=env)
        try:
            for elapsed in timeouts.ticks(deadline):
                if process.poll() is not None:
                    break
                desk.check()
                if elapsed >= 1:  # what is done at once is not worth a line
                    desk.say(f"{elapsed:.0f} s, {describe(log.read_text(errors='replace').splitlines())}")
            else:
                msg = f"{argv[0]!s} did not finish within {timeouts.stretched(deadline):.0f} s"
                said = describe(log.read_text(errors="replace").splitlines())
                raise CommandError(msg, cause=f"last seen: {said}", where=" ".join(map(str, argv)), log=str(log))
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)  # its compilers and linkers too
            stop(process)
    return Completed(tuple(map(str, argv)), process.returncode, "", log.read_text(errors="replace"))
