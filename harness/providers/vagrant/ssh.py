"""Programs on a machine that is reached by ssh, as a `Runner`.

ssh(1) hands the other side's shell one line. It is made here and nowhere else, and every word in it is quoted. All
programs of a machine share one connection, which ssh keeps for a while and `close` ends.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from harness import timeouts
from harness.enter import LEASH, settings
from harness.errors import PreflightError
from harness.runner import Argv, Completed, ConnectionLostError, HostRunner

PERSIST = 300
"""Seconds that a connection is kept after its last program."""

ALIVE = 15.0
"""Seconds between two signs of life, before scaling; a machine that misses `MISSED` of them is gone."""

MISSED = 4

_LOST = 255
"""ssh's own exit status where there is no connection; also that of a program that ends with it."""

# What ssh itself says, and no program: client and multiplexer, in OpenSSH's ssh.c, clientloop.c, mux.c, packet.c.
_SSH_SAYS = re.compile(
    r"^(?:ssh: |ssh_|kex_|client_loop: |mux_client_|banner exchange|Connection (?:closed|reset|to|timed)|"
    r"Timeout, server |Host key verification failed|Permission denied \(|[^ ]+@[^ ]+: Permission denied \(|"
    r"Received disconnect|Disconnected from|Control socket connect|Bad (?:owner|configuration)|Can't open user config|"
    r"Load key |packet_write_|Write failed: |Read from remote host )"
)

_PATIENCE = 10
"""Seconds that a program on the other side may take longer than who waits for it here."""

# A shell says of a program that a signal ended 128 and the signal; ssh would say 255 of it, as of a lost connection.
_PLAIN = ("sh", "-c", '"$@"; exit $?', "sh")

# A session that is lost on a shared connection ends with the same status, and without a word (mux.c): a program that
# really ended with it says so.
_OWN = "cnilab: the program's own exit status is 255"
_TELLING = ("sh", "-c", f'"$@"; code=$?; [ $code -ne {_LOST} ] || echo "{_OWN}" >&2; exit $code', "sh")
_ROOT = ("sudo", "-n", "--")


@dataclass(frozen=True)
class Way:
    """How a machine is reached.

    Args:
        config: The ssh configuration of the lab, which Vagrant wrote.
        host: The machine's name in it.
        control: Where its connection is shared; see `control_path`.
    """

    config: Path
    host: str
    control: Path

    @property
    def options(self) -> tuple[str, ...]:
        """Words for ssh, all but the host. They win over the configuration, where ssh would say nothing of errors."""
        alive = max(1, round(timeouts.stretched(ALIVE)))
        given = {
            "BatchMode": "yes",
            "LogLevel": "ERROR",
            "ConnectTimeout": max(1, round(timeouts.stretched(timeouts.COMMAND))),
            "ServerAliveInterval": alive,
            "ServerAliveCountMax": MISSED,
            "ControlMaster": "auto",
            "ControlPath": self.control,
            "ControlPersist": PERSIST,
        }
        words = (word for key, value in given.items() for word in ("-o", f"{key}={value}"))
        return ("-F", str(self.config), *words)

    def vector(self, words: Sequence[str], *, terminal: bool = False) -> tuple[str, ...]:
        """The vector that runs a program there, as the user of the configuration.

        Args:
            words: Program and arguments.
            terminal: Give it one.
        """
        return ("ssh", *self.options, *(("-t",) if terminal else ()), "--", self.host, line(words))

    def close(self) -> None:
        """End the shared connection, if there is one."""
        words = ("ssh", "-F", str(self.config), "-o", f"ControlPath={self.control}", "-O", "exit", "--", self.host)
        if self.control.exists():
            HostRunner().run(words, check=False)
            self.control.unlink(missing_ok=True)


def line(words: Sequence[str]) -> str:
    """What the other side's shell reads: it finds exactly these words in it."""
    return shlex.join(words)


def control_path(lab: Path, machine: str) -> Path:
    """Where the connection to a machine is shared: a path that is short whatever the state directory is.

    A socket's path has 107 bytes (unix(7)), and ssh adds some of its own while it makes one. The directory is the
    user's own: who can write there could listen.

    Args:
        lab: Directory of the lab.
        machine: The machine's name.

    Raises:
        PreflightError: Somebody else has made it.
    """
    folder = Path(f"/tmp/cnilab-ssh-{os.geteuid()}")  # noqa: S108 - see below: it is ours alone, or not taken
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        msg = f"other users have access to {folder}"
        raise PreflightError(msg, cause=f"owner {found.st_uid}, mode {found.st_mode & 0o777:o}", next_step="remove it")
    return folder / f"{hashlib.blake2b(str(lab.resolve()).encode(), digest_size=4).hexdigest()}-{machine}"


def trouble(returncode: int, stderr: str) -> str:
    """What ssh says of a connection that is not there, or is no more; empty where it was the program's own exit.

    Args:
        returncode: Of ssh.
        stderr: What it and the program said.
    """
    if returncode != _LOST:
        return ""
    said = [text.strip() for text in stderr.splitlines() if _SSH_SAYS.match(text.strip())]
    return "\n".join(said[-3:])


class SshRunner(HostRunner):
    """Runs programs on a machine, as root and with the environment that programs have on every machine of a lab.

    A program that a signal ended has 128 and that signal as exit status.

    Args:
        way: How it is reached.
        enter: Words before every program there: nsenter, to go on from the machine into a pod.
    """

    def __init__(self, way: Way, enter: Sequence[str] = ()) -> None:
        super().__init__()
        self.way = way
        self._enter = tuple(enter)

    def _there(
        self, argv: Argv, env: Mapping[str, str] | None, *before: str, shell: tuple[str, ...] = _PLAIN
    ) -> tuple[str, ...]:
        """All words that run there."""
        own = (*self._enter, *(os.fspath(word) for word in argv))
        return (*shell, *_ROOT, "env", "-i", *settings(env), *before, *own)

    def vector(self, argv: Argv, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """See `HostRunner.vector`; with a terminal where there is one here."""
        return self.way.vector(self._there(argv, env), terminal=os.isatty(0) and os.isatty(1))

    @property
    def where(self) -> str:
        """See `ProgramRunner.where`."""
        return f"on {self.way.host}"

    def execute(self, argv: Argv, input: str | None, seconds: float, env: Mapping[str, str] | None) -> Completed:  # noqa: A002 - the name that subprocess.run has
        """See `ProgramRunner.execute`. What takes too long ends on the machine, too.

        Raises:
            ConnectionLostError: There is no connection, or it was lost.
        """
        limit = ("timeout", "--kill-after", str(_PATIENCE), str(round(seconds + _PATIENCE)))
        words = self._there(argv, env, *limit, shell=_TELLING)
        done = self.here(self.way.vector(words), None, input, seconds)
        if done.returncode != _LOST:
            return done
        before, own, after = done.stderr.rpartition(f"{_OWN}\n")
        if own:
            return replace(done, stderr=before + after)
        cause = trouble(done.returncode, done.stderr)
        what = f"no connection to {self.way.host}" if cause else f"the connection to {self.way.host} was lost"
        said = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise ConnectionLostError(
            what,
            cause=cause or said or "ssh does not say why: the machine is gone, or its ssh server ended the session",
            where=done.command,
            next_step="'cnilab status' shows which machines run",
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
        """See `Runner.start`.

        No signal reaches the machine: a process here stands for the program, and its standard input is the leash that
        ends it at SIGINT or SIGTERM. A program that gets an input of its own ends when that does.
        """
        if stdin not in {None, subprocess.DEVNULL}:
            return self.start_here(self.way.vector(self._there(argv, env)), None, stdin, stdout, stderr)
        words = self.way.vector(self._there((*argv,), env, *LEASH))
        relay = (sys.executable, "-m", "harness.providers.vagrant.relay", *words)
        return self.start_here(relay, None, stdout=stdout, stderr=stderr)
