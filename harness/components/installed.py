"""Packages that this program installed with apt: kept on record, and removed again when the user says so.

<cache>/installed.json   names of the packages that were not there before
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import files, timeouts
from harness.components.apt import ENVIRONMENT, WAIT_FOR_LOCK
from harness.errors import PreflightError
from harness.runner import Runner

FILE = "installed.json"
"""Of the cache, which is what stays of this program on a machine anyway."""

_OURS_ALONE = ("-o", "APT::AutoRemove::SuggestsImportant=false")
"""apt would keep, too, what others merely suggest: half of Debian suggests iptables."""


@dataclass(frozen=True)
class Removal:
    """What would go, and what would not.

    Args:
        removed: Packages that nothing else on the machine asks for.
        kept: Packages that others ask for by now, which came some other way.
    """

    removed: tuple[str, ...]
    kept: tuple[str, ...]


class Installed:
    """The record of a cache.

    Args:
        cache: The cache's directory.
        runner: Runs dpkg and apt.
    """

    def __init__(self, cache: Path, runner: Runner) -> None:
        self._path = cache / FILE
        self._runner = runner

    def names(self) -> list[str]:
        """Everything on record, whether it is still there or not.

        Raises:
            PreflightError: The record is damaged.
        """
        try:
            found: list[str] = [str(name) for name in json.loads(self._path.read_text(encoding="utf-8"))["packages"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            msg = "the record of installed packages cannot be read"
            step = "read the file and delete it, then remove unwanted packages with apt-get"
            raise PreflightError(msg, cause=str(error), where=str(self._path), next_step=step) from error
        return found

    def add(self, new: Iterable[str]) -> None:
        """Note packages that apt was to install; those that it did not come to are left out."""
        there = self._present(new)
        if there:
            with self._alone():
                self._write({*self.names(), *there})

    def removal(self) -> Removal:
        """What removing would do; nothing is changed.

        Raises:
            PreflightError: apt does not say.
        """
        present = self._present(self.names())
        if not present:
            return Removal((), ())
        with TemporaryDirectory(prefix="cnilab-apt.") as scratch:
            # In such a file apt keeps what came as a dependency only. This one has all of ours, and nothing else:
            # what it would remove then is what only we wanted.
            marks = Path(scratch, "extended_states")
            marks.write_text("".join(map(_automatic, present.items())), encoding="utf-8")
            done = self._apt("-s", *_OURS_ALONE, "-o", f"Dir::State::extended_states={marks}", "autoremove")
        going = {line.split()[1] for line in done.splitlines() if line.startswith(("Remv ", "Purg "))}
        removed = tuple(sorted(going & present.keys()))
        return Removal(removed, tuple(sorted(present.keys() - going)))

    def remove(self, names: Sequence[str]) -> None:
        """Remove packages, with what they keep in /etc: they were not there before.

        Args:
            names: As `removal` found them.

        Raises:
            PreflightError: apt would remove others with them, or failed.
        """
        said = self._apt("-s", "--no-auto-remove", "purge", *names)
        others = {line.split()[1] for line in said.splitlines() if line.startswith(("Remv ", "Purg "))} - set(names)
        if others:
            msg = "other packages would be removed with them"
            raise PreflightError(msg, cause=", ".join(sorted(others)), next_step="check the list again with --dry-run")
        self._apt("-y", "-q", "--no-auto-remove", *WAIT_FOR_LOCK, "purge", *names)
        with self._alone():
            self._write(self._present(self.names()))

    def _apt(self, *words: str) -> str:
        done = self._runner.run(["apt-get", *words], env=ENVIRONMENT, timeout=timeouts.DOWNLOAD, check=False)
        if not done.ok:
            msg = "apt-get failed"
            step = "run 'apt-get check' and solve what the message says first"
            raise PreflightError(msg, cause=done.tail(), where=done.command, next_step=step)
        return done.stdout

    def _present(self, names: Iterable[str]) -> dict[str, str]:
        """Those that are installed now, with their architectures."""
        wanted = sorted(set(names))
        if not wanted:
            return {}
        form = "${Package} ${Architecture} ${db:Status-Status}\n"
        # It fails when one of them is unknown, and says what it knows of the others all the same.
        done = self._runner.run(["dpkg-query", "-W", "-f", form, *wanted], env=ENVIRONMENT, check=False)
        lines = [line.split() for line in done.stdout.splitlines()]
        return {words[0]: words[1] for words in lines if words[2:] == ["installed"]}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process changes the record meanwhile."""
        locks = self._path.parent / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / "installed").open("w") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            yield

    def _write(self, names: Iterable[str]) -> None:
        found = sorted(set(names))
        if not found:
            with suppress(FileNotFoundError):
                self._path.unlink()
            return
        files.replace(self._path, json.dumps({"packages": found}, indent=2) + "\n")


def _automatic(package: tuple[str, str]) -> str:
    name, architecture = package
    return f"Package: {name}\nArchitecture: {architecture}\nAuto-Installed: 1\n\n"
