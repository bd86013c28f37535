"""The class of all commands: examples in the help, and the group's -q and -v accepted after the command too."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent
from typing import Any

import click

from harness.cli.context import Settings


class Command(click.Command):
    """A command with examples.

    Args:
        *args: As of `click.Command`.
        examples: Lines of shell, shown as they are.
        on_lab: It does something with the lab of its option `--lab`, and runs where that is.
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

    def invoke(self, ctx: click.Context) -> Any:
        """Run it here, or in the machine that its lab lives in."""
        if self.on_lab:
            from harness.cli.kernel import redirected  # noqa: PLC0415 - it needs this module's context

            code = redirected(ctx)
            if code is not None:
                return code
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, and the rule of the variables."""
        with formatter.section("Examples"):
            for line in self.examples:
                formatter.write(f"  {line}\n")
        options = [param for param in self.params if isinstance(param, click.Option) and not param.hidden]
        if options and ctx.auto_envvar_prefix:
            name = (options[0].name or "").upper()
            formatter.write(f"\nVariables: {ctx.auto_envvar_prefix}_<OPTION>, as {ctx.auto_envvar_prefix}_{name}.\n")


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
