"""What every command knows: where things are kept, how much to say, and in which colours."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from harness.errors import UsageError

WORDS = "cnilab.words"
"""Where a command's context keeps the words after the program's name."""

LONGEST_PLACE = 1024
"""Bytes of a directory's path: what containers have below it may be as long again, and more."""

_TEMPLATES = ("{{", "{%", "{#")

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")


@dataclass
class Settings:
    """The group's options.

    Args:
        quiet: Show only errors on stderr, no progress.
        verbose: 0: steps; 1: sub-steps and notes too; 2: tracebacks as well.
        state: Root of state; a cluster's own directory is `labs/<name>` below it.
        cache: Components, images, build results.
        timeout_scale: Factor for all deadlines.
        mirrors: URLs by the registries that they stand for; see `harness.components.mirrors.parse`.
    """

    quiet: bool = False
    verbose: int = 0
    state: Path = Path()
    cache: Path = Path()
    timeout_scale: float = 1.0
    mirrors: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """How much is said, as options for a program of ours that is started."""
        return [*(["--quiet"] if self.quiet else []), *(["-v"] * self.verbose)]

    @property
    def options(self) -> list[str]:
        """All of them, as options for a program of ours that is started on this machine."""
        places = [f"--state={self.state}", f"--cache={self.cache}", f"--timeout-scale={self.timeout_scale:g}"]
        return [*places, *(f"--registry-mirror={host}={url}" for host, url in self.mirrors.items()), *self.words]


def default_state() -> Path:
    """`$XDG_STATE_HOME/cnilab`, by default `~/.local/state/cnilab`."""
    return _base("XDG_STATE_HOME", ".local/state") / "cnilab"


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/cnilab`, by default `~/.cache/cnilab`."""
    return _base("XDG_CACHE_HOME", ".cache") / "cnilab"


def default_config() -> Path:
    """`$XDG_CONFIG_HOME/cnilab/config.toml`, by default `~/.config/cnilab/config.toml`."""
    return _base("XDG_CONFIG_HOME", ".config") / "cnilab" / "config.toml"


def _base(variable: str, below_home: str) -> Path:
    # The XDG specification says that a relative path is to be ignored.
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / below_home


def settings() -> Settings:
    """The settings of the running command."""
    found = click.get_current_context().find_object(Settings)
    if found is None:  # a command invoked on its own, as unit tests do
        return Settings(state=default_state(), cache=default_cache())
    return found


def say(text: str) -> None:
    """Tell the user on stderr, unless --quiet."""
    if not settings().quiet:
        click.echo(text, err=True)


def colored(choice: str) -> bool | None:
    """What click needs to know: always, never, or (None) only on a terminal.

    The command line decides first, then NO_COLOR (https://no-color.org: set and not empty), then FORCE_COLOR, then
    the terminal.
    """
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return False if os.environ.get("TERM") == "dumb" else None


def shown(text: str, limit: int = 60) -> str:
    """Text from outside as it may be printed: control characters escaped, at most `limit` characters."""
    safe = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return safe if len(safe) <= limit else f"{safe[: limit - 1]}…"


def checked_place(path: Path, option: str) -> Path:
    """A directory that clusters are made of or in, absolute; spaces, quotes, commas and other alphabets are welcome.

    Args:
        path: As the user gave it.
        option: How.

    Raises:
        UsageError: Files, mounts and programs below it could not name it.
    """
    place = path.absolute()
    cause = ""
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in str(place)):
        cause = "it contains a control character or bytes that are not UTF-8: mount tables and JSON cannot contain it"
    elif any(sign in str(place) for sign in _TEMPLATES):
        cause = f"it contains one of {' '.join(_TEMPLATES)}: Ansible would read it as a template"
    elif len(os.fsencode(place)) > LONGEST_PLACE:
        cause = f"it is {len(os.fsencode(place))} bytes long; the kernel allows 4096, and files below it need the rest"
    if cause:
        msg = f"{option} {shown(str(place))} cannot be used"
        step = f"set another directory with {option}: at most {LONGEST_PLACE} bytes, on one line"
        raise UsageError(msg, cause=cause, next_step=step)
    return place


def checked_name(name: str) -> str:
    """A cluster's name, before it becomes part of a path.

    Raises:
        UsageError: It is not a short DNS label.
    """
    if _NAME.fullmatch(name):
        return name
    msg = f"'{shown(name)}' is not a valid name of a cluster"
    raise UsageError(
        msg,
        cause="a name has 1 to 30 lower-case letters, digits and '-', and begins and ends with a letter or digit",
        next_step="run 'cnilab status' to see the names of all clusters",
    )
