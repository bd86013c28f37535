"""Options from files: the user's `~/.config/cnilab/config.toml`, and the project's `cnilab.toml` in front of it.

    timeout-scale = 2        # options before the command

    [up]                     # options of a command, named as on the command line
    nodes = 3
    raise-limits = true

    [components.list]
    output = "wide"

The command line wins over variables, variables over the project's file, that over the user's.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from harness.cli.context import default_config, shown
from harness.errors import UsageError

PROJECT = "cnilab.toml"
"""The project's file, in the working directory."""

SOURCES = "cnilab.files"
"""Where a context keeps the names of the files that were read."""


def read() -> tuple[dict[str, Any], list[str]]:
    """What the files say, and which of them are there.

    Raises:
        UsageError: A file cannot be read, or is not TOML.
    """
    found: dict[str, Any] = {}
    names = []
    for path in (default_config(), Path(PROJECT)):
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            msg = f"cannot read {shown(str(path), 200)}"
            raise UsageError(msg, cause=str(error)) from error
        _merge(found, _parsed(text, path))
        names.append(str(path))
    return found, names


def _parsed(text: str, path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - most users have no such file

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"{shown(str(path), 200)} is not valid TOML"
        raise UsageError(msg, cause=str(error)) from error


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def adopt(ctx: click.Context, commands: Iterable[str] = ()) -> None:
    """Turn a section's options, which are named after flags, into defaults of the command's parameters.

    Args:
        ctx: Of the command, or of a group.
        commands: Of the group: sections that are for them.

    Raises:
        UsageError: Something in the section is none of its options.
    """
    section = ctx.default_map or {}
    flags = {_flag(one): one for one in ctx.command.params if isinstance(one, click.Option) and not one.hidden}
    known = {*flags, *commands}
    for key, value in section.items():
        if key in commands and isinstance(value, dict):
            continue
        if key not in flags or isinstance(value, dict):
            near = difflib.get_close_matches(key, known, n=1)
            msg = f"'{shown(key)}' is no option of '{ctx.command_path}'"
            hint = f"did you mean '{near[0]}'?" if near and near[0] != key else f"run '{ctx.command_path} --help'"
            raise UsageError(msg, where=" or ".join(ctx.find_root().meta.get(SOURCES, ())), next_step=hint)
    ctx.default_map = {
        key if isinstance(value, dict) else flags[key].name or key: value for key, value in section.items()
    }


def _flag(option: click.Option) -> str:
    """`raise-limits` of `--raise-limits`."""
    return next((name for name in option.opts if name.startswith("--")), "").removeprefix("--")
