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

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from harness.cli.alias import Alias
from harness.cli.context import default_config, shown
from harness.errors import UsageError

PROJECT = "cnilab.toml"
"""The project's file, in the working directory."""

SAME = {"lab": "cluster", "cluster": "lab"}
"""Two names of one option, each with the other: the stronger file decides for both."""

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
            raise UsageError(msg, cause=str(error), next_step="make it a readable text file, or remove it") from error
        _merge(found, _parsed(text, path))
        names.append(str(path))
    return found, names


def _parsed(text: str, path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - most users have no such file

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, and lists that deep, are no TOML
        msg = f"{shown(str(path), 200)} is not valid TOML"
        hint = "correct the file: put text in quotes, and the options of a command in its section, such as [up]"
        raise UsageError(msg, cause=str(error), next_step=hint) from error


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        other = SAME.get(key)
        if other is not None and other not in more:
            into.pop(other, None)
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
        UsageError: Something in the section is none of its options, or nothing that the option can be.
    """
    if ctx.resilient_parsing:
        return  # words are being completed: whoever presses TAB wants no complaints about files
    section = ctx.default_map or {}
    options = [one for one in ctx.command.params if isinstance(one, click.Option)]
    flags = {_flag(one): one for one in options if not one.hidden or isinstance(one, Alias)}
    adopted: dict[str, Any] = {}
    for key, value in section.items():
        if key in commands and isinstance(value, dict):
            adopted[key] = value
        elif key not in flags or isinstance(value, dict):
            raise _unknown(ctx, key, {*(name for name, one in flags.items() if not one.hidden), *commands})
        else:
            adopted[flags[key].name or key] = _value(ctx, flags[key], key, value)
    ctx.default_map = adopted


def _unknown(ctx: click.Context, key: str, known: Iterable[str]) -> UsageError:
    import difflib  # noqa: PLC0415 - only a mistake needs it

    near = difflib.get_close_matches(key, known, n=1)
    msg = f"'{shown(key)}' is not an option of '{ctx.command_path}'"
    hint = f"did you mean '{near[0]}'?" if near and near[0] != key else f"run '{ctx.command_path} --help'"
    return UsageError(msg, where=_files(ctx), next_step=hint)


def _value(ctx: click.Context, option: click.Option, key: str, value: Any) -> Any:
    """What a file says of an option, as a word of the command line would: click's types expect text.

    It is tried here, where the file and the key are known.
    """
    try:
        given = [_word(option, one) for one in _several(value)] if option.multiple else _word(option, value)
        option.type_cast_value(ctx, given)
    except click.BadParameter as error:
        msg = f"'{shown(key)}' has a value that '{ctx.command_path}' cannot use"
        section = ".".join((*ctx.command_path.split()[1:], key))
        raise UsageError(
            msg,
            cause=shown(error.message.removesuffix("."), 400),
            where=f"{_files(ctx)}, key {section}",
            next_step=f"correct the value there; '{ctx.command_path} --help' shows which values are allowed",
        ) from error
    return given


def _several(value: Any) -> list[Any]:
    """The values of an option that may be given several times: a list, or the only one."""
    return value if isinstance(value, list) else [value]


def _word(option: click.Option, value: Any) -> str | bool:
    """One value as on the command line; true and false are for options that take no value there.

    Raises:
        click.BadParameter: TOML has more kinds of values than options have.
    """
    if isinstance(value, bool):
        if option.is_flag or option.count:
            return value
        msg = f"It needs a value, not {str(value).lower()}."
        raise click.BadParameter(msg)
    if isinstance(value, str) and "\0" in value:
        msg = "It contains a zero character, which a command line cannot contain."
        raise click.BadParameter(msg)
    if isinstance(value, str | int | float):
        return str(value)
    several = "A list is only allowed for an option that may be repeated." if isinstance(value, list) else ""
    msg = several or "It must be text or a number. Put a date or a time in quotes."
    raise click.BadParameter(msg)


def _files(ctx: click.Context) -> str:
    return " or ".join(ctx.find_root().meta.get(SOURCES, ()))


def _flag(option: click.Option) -> str:
    """`raise-limits` of `--raise-limits`."""
    return next((name for name in option.opts if name.startswith("--")), "").removeprefix("--")
