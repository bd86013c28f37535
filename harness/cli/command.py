"""Classes of commands, groups and options: examples in the help, -q and -v after the command, names of variables."""

from __future__ import annotations

import os
from collections.abc import Callable
from textwrap import dedent
from typing import Any

import click

from harness.cli.alias import Alias
from harness.cli.context import Settings
from harness.cli.defaults import adopt


def variable(option: click.Option, prefix: str) -> str:
    """The variable that sets an option: `CNILAB_DOWN_ALL` for `down --all`.

    Args:
        option: Of a command.
        prefix: `CNILAB_DOWN`.
    """
    flag = next((name for name in option.opts if name.startswith("--")), option.name or "")
    return f"{prefix}_{flag.removeprefix('--').replace('-', '_').upper()}"


class Option(click.Option):
    """An option whose variable is named after its flag, where the function calls its parameter something else."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The variable's value; None when it is not set, or empty."""
        return os.environ.get(variable(self, ctx.auto_envvar_prefix or "CNILAB")) or None


class Command(click.Command):
    """A command with examples.

    Args:
        *args: As of `click.Command`.
        examples: Lines of shell, shown as they are.
        on_lab: It does something with the cluster of its option `--cluster`, and runs where that is.
        **kwargs: As of `click.Command`.
    """

    def __init__(self, *args: Any, examples: str = "", on_lab: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_lab = on_lab
        self.examples = dedent(examples).strip().splitlines()
        self.params += [
            click.Option(["-q", "--quiet"], is_flag=True, hidden=True, expose_value=False, callback=_quiet),
            click.Option(["-v", "--verbose"], count=True, hidden=True, expose_value=False, callback=_verbose),
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Words, then variables, then the command's section of the files."""
        adopt(ctx)
        rest = super().parse_args(ctx, args)
        for param in self.params:
            if isinstance(param, Alias):
                param.settle(ctx)
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run it here, or in the machine that its cluster lives in."""
        if self.on_lab:
            from harness.cli.inside import redirected  # noqa: PLC0415 - it needs this module's context

            code = redirected(ctx)
            if code is not None:
                return code
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, and the rule of the variables."""
        _write_examples(self.examples, formatter)
        options = [param for param in self.params if isinstance(param, click.Option) and not param.hidden]
        prefix = ctx.auto_envvar_prefix
        if options and prefix:
            formatter.write(f"\nVariables: {prefix}_<OPTION>, as {variable(options[0], prefix)}.\n")


class Group(click.Group):
    """A group of commands with examples.

    Args:
        *args: As of `click.Group`.
        examples: Lines of shell, shown as they are.
        **kwargs: As of `click.Group`.
    """

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = dedent(examples).strip().splitlines()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """A group has no options of its own; a section of the files may only be about its commands."""
        adopt(ctx, self.commands)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples."""
        del ctx
        _write_examples(self.examples, formatter)


def _write_examples(lines: list[str], formatter: click.HelpFormatter) -> None:
    with formatter.section("Examples"):
        for line in lines:
            formatter.write(f"  {line}\n")


def _quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    del param
    options = ctx.find_object(Settings)
    if value and options is not None:
        options.quiet = True


def _verbose(ctx: click.Context, param: click.Parameter, value: int) -> None:
    del param
    options = ctx.find_object(Settings)
    if options is not None:
        options.verbose += value


def command(name: str, *, examples: str, **kwargs: Any) -> Callable[[Callable[..., Any]], Command]:
    """Declare a command.

    Args:
        name: As typed.
        examples: Three real calls.
        **kwargs: As of `click.command`.
    """
    return click.command(name, cls=Command, examples=examples, **kwargs)
