"""The one place where programs are run.

Everything above talks to machines through a `Runner`: the host's own (`HostRunner`) or a node's, which only prefixes
the argument vector (`nsenter …`, `docker exec …`). It is run as it is: no shell reads it, unless its program is one.
What is run speaks English and UTF-8 whatever the caller's locale is: see `caller`.
"""

from __future__ import annotations

import abc
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypedDict

from harness import caller, timeouts
from harness.errors import CnilabError

Argv = Sequence[str | os.PathLike[str]]

WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Words before a program that ends with its caller, also with one that was killed (prctl(2), PR_SET_PDEATHSIG)."""

COPY = (*WITH_US, "cp", "-a")
"""Words that copy a tree, no longer than their caller lives: who cleans up after a killed one must find no writer."""


@dataclass(frozen=True)
class Completed:
    """What a program did.

    Args:
        argv: The vector as executed, prefix included.
        returncode: Exit status; negative for a signal.
        stdout: Decoded as UTF-8, undecodable bytes replaced.
        stderr: Likewise.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """True for exit status 0."""
        return self.returncode == 0

    @property
    def command(self) -> str:
        """The vector as a person would type it."""
        return shlex.join(self.argv)

    def tail(self, lines: int = 5) -> str:
        """The last lines of what it printed, errors first."""
        text = self.stderr.strip() or self.stdout.strip()
        return "\n".join(text.splitlines()[-lines:])

    def insist(self, program: str, place: str = "") -> Completed:
        """Itself, if the program succeeded.

        Args:
            program: Word or path that it was called by.
            place: Where that was, unless it was here: `on n1`.

        Raises:
            CommandError: It failed.
        """
        if not self.ok:
            words = (Path(program).name, place, f"failed with exit status {self.returncode}")
            raise CommandError(" ".join(word for word in words if word), self)
        return self


class CommandError(CnilabError):
    """A program failed, timed out or is not there."""

    exit_code = 11

    def __init__(self, what: str, completed: Completed | None = None, **facts: str) -> None:
        """Describe the failure.

        Args:
            what: One sentence.
            completed: What the program did, if it ran.
            **facts: As of `CnilabError`.
        """
        if completed is not None:
            facts.setdefault("cause", completed.tail() or f"exit status {completed.returncode}, nothing printed")
            facts.setdefault("where", completed.command)
        super().__init__(
            what,
            cause=facts.get("cause", ""),
            where=facts.get("where", ""),
            next_step=facts.get("next_step", ""),
            log=facts.get("log", ""),
        )
        self.completed = completed


class ConnectionLostError(CommandError):
    """The way to another machine is not there, or was lost: what became of a program there is not known."""


class RunOptions(TypedDict, total=False):
    """Options of `Runner.run`, for who hands them on."""

    input: str | None
    timeout: float
    check: bool
    env: Mapping[str, str] | None


class Runner(Protocol):
    """Runs programs somewhere."""

    def run(
        self,
        argv: Argv,
        *,
        input: str | None = None,  # noqa: A002 - the name that subprocess.run has
        timeout: float = timeouts.COMMAND,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run to the end.

        Args:
            argv: Program and arguments.
            input: Text for its standard input; None is an empty one.
            timeout: Seconds, before scaling.
            check: Raise `CommandError` unless it exits with 0.
            env: Variables added to the environment.
        """
        ...

    def start(
        self,
        argv: Argv,
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start and return at once, in a session of its own."""
        ...


class ProgramRunner(abc.ABC):
    """What all runners share: one rule for deadlines, and one for what a failure is.

    A deadline of a program is stretched, never hurried: see `timeouts.stretched`.
    """

    @property
    def where(self) -> str:
        """Where it runs programs, for errors: `on n1`; empty for this machine."""
        return ""

    @abc.abstractmethod
    def execute(self, argv: Argv, input: str | None, seconds: float, env: Mapping[str, str] | None) -> Completed:  # noqa: A002 - the name that subprocess.run has
        """Run to the end, whatever the exit status is.

        Args:
            argv: Program and arguments.
            input: Text for its standard input; None is an empty one.
            seconds: Deadline, as it counts.
            env: Variables added to the environment.

        Raises:
            CommandError: It could not be run, or did not end in time.
        """

    def run(
        self,
        argv: Argv,
        *,
        input: str | None = None,  # noqa: A002 - the name that subprocess.run has
        timeout: float = timeouts.COMMAND,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """See `Runner.run`."""
        done = self.execute(argv, input, timeouts.stretched(timeout), env)
        return done.insist(os.fspath(argv[0]), self.where) if check else done


class HostRunner(ProgramRunner):
    """Runs programs on this machine.

    Args:
        prefix: Words put before every vector; how a node's runner gets into the node.
        cwd: Working directory.
    """

    def __init__(self, prefix: Sequence[str] = (), cwd: Path | None = None) -> None:
        self.prefix = tuple(prefix)
        self.cwd = cwd

    def vector(self, argv: Argv, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """The whole vector, for a caller that becomes the program (execvp) or shows what a person would type.

        Args:
            argv: Program and arguments.
            env: Variables added to the environment, by env(1).
        """
        settings = ("env", *(f"{key}={value}" for key, value in env.items())) if env else ()
        return (*settings, *self.process(argv, None)[0])

    def process(self, argv: Argv, env: Mapping[str, str] | None) -> tuple[tuple[str, ...], Mapping[str, str] | None]:
        """The vector of the process that is started here, and the variables that it gets by its environment.

        Args:
            argv: Program and arguments.
            env: Variables for the program.
        """
        return (*self.prefix, *(os.fspath(word) for word in argv)), env

    def execute(self, argv: Argv, input: str | None, seconds: float, env: Mapping[str, str] | None) -> Completed:  # noqa: A002 - the name that subprocess.run has
        """See `ProgramRunner.execute`."""
        return self.here(*self.process(argv, env), input, seconds)

    def here(
        self,
        vector: tuple[str, ...],
        env: Mapping[str, str] | None,
        input: str | None,  # noqa: A002 - the name that subprocess.run has
        seconds: float,
    ) -> Completed:
        """Run a process of this machine to its end.

        Args:
            vector: All its words.
            env: Variables added to the environment.
            input: Text for its standard input.
            seconds: Deadline, as it counts.
        """
        try:
            done = subprocess.run(
                vector,
                input=(input or "").encode(),
                capture_output=True,
                timeout=seconds,
                check=False,
                cwd=self.cwd,
                env=caller.environment(env),
            )
        except FileNotFoundError as error:
            msg = f"program not found: {error.filename or vector[0]}"
            raise CommandError(msg, where=shlex.join(vector), next_step="run 'cnilab doctor'") from error
        except subprocess.TimeoutExpired as error:
            msg = f"no answer within {seconds:.0f} s"
            output = ((error.stdout or b"") + (error.stderr or b"")).decode(errors="replace")
            raise CommandError(
                msg, where=shlex.join(vector), cause="\n".join(output.splitlines()[-5:]) or "nothing printed"
            ) from error
        return Completed(
            vector, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    def start(
        self,
        argv: Argv,
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """See `Runner.start`."""
        return self.start_here(*self.process(argv, env), stdin, stdout, stderr)

    def start_here(
        self,
        vector: tuple[str, ...],
        env: Mapping[str, str] | None,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start a process of this machine; see `Runner.start`.

        Args:
            vector: All its words.
            env: Variables added to the environment.
            stdin: Its standard input; None is an empty one.
            stdout: Where its output goes.
            stderr: Where its errors go.
        """
        try:
            return subprocess.Popen(
                vector,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=self.cwd,
                env=caller.environment(env),
                start_new_session=True,
            )
        except FileNotFoundError as error:
            msg = f"program not found: {vector[0]}"
            raise CommandError(msg, where=shlex.join(vector), next_step="run 'cnilab doctor'") from error


def stop(process: subprocess.Popen[bytes], sig: int = signal.SIGTERM, patience: float = timeouts.PROCESS_EXIT) -> int:
    """End a process that we started, by its PID: first the given signal, SIGKILL when patience is over.

    Args:
        process: As returned by `start`.
        sig: The polite signal; SIGINT for tcpdump, so that it writes its file out.
        patience: Seconds between the polite signal and SIGKILL, before scaling.

    Returns:
        The exit status.
    """
    if process.poll() is None:
        process.send_signal(sig)
        try:
            process.wait(timeouts.stretched(patience))
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
