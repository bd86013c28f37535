"""Former names of options: the help does not show them, and they go on working."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from harness.cli.context import shown
from harness.errors import UsageError

_SOURCES = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)
"""Where a value can come from, the strongest first: the command line, a variable, a file."""


class Alias(click.Option):
    """The former name of an option, with a variable and a key in files of its own.

    Args:
        *args: As of `click.Option`.
        of: Parameter of the option that has the new name.
        **kwargs: As of `click.Option`.
    """

    def __init__(self, *args: Any, of: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hidden = True
        self.of = of

    def settle(self, ctx: click.Context) -> None:
        """Hand the value over to the new name. The stronger source wins, as everywhere.

        Args:
            ctx: Of the command, its words parsed.

        Raises:
            UsageError: One source has two values; whoever presses TAB is not told.
        """
        former, current = ctx.params.pop(self.name or "", None), ctx.params.get(self.of)
        if former is None:
            return
        mine, its = (self._rank(ctx, name) for name in (self.name, self.of))
        if current is None or mine < its:
            ctx.params[self.of] = former
            ctx.set_parameter_source(self.of, _SOURCES[mine])
        elif mine == its and former != current and not ctx.resilient_parsing:
            new, old = (self._place(ctx, mine, name) for name in (self.of, self.name or ""))
            msg = f"{new} and {old} are the same option, and have different values"
            raise UsageError(
                msg, cause=f"{new} is '{shown(current)}', {old} is '{shown(former)}'", next_step=f"give only {new}"
            )

    @staticmethod
    def _place(ctx: click.Context, rank: int, name: str) -> str:
        if _SOURCES[rank] == ParameterSource.COMMANDLINE:
            return f"--{name}"
        variable = f"{ctx.auto_envvar_prefix}_{name.upper()}"
        return variable if _SOURCES[rank] == ParameterSource.ENVIRONMENT else f"key {name} of a file"

    @staticmethod
    def _rank(ctx: click.Context, name: str | None) -> int:
        source = ctx.get_parameter_source(name or "")
        return _SOURCES.index(source) if source in _SOURCES else len(_SOURCES)
