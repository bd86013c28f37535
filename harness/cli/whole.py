"""A command that is made of others: each as if it had been typed."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from harness.cli.context import WORDS, say, settings


@dataclass
class Whole:
    """A run of several commands.

    Args:
        parent: Context of the command that they are parts of.
        silent: What they print on stdout is not wanted there.
        phases: Name, exit code and seconds of each that ended.
    """

    parent: click.Context
    silent: bool
    phases: list[tuple[str, int, float]] = field(default_factory=list)

    def do(self, *words: str) -> int:
        """One command, as if it had been typed; an error is told at once, and is its exit code."""
        from harness.cli.app import COMMANDS, explain, find  # noqa: PLC0415 - it lists this module, too

        say(f"==> {COMMANDS[words[0]][0]}")
        began = time.monotonic()
        self.parent.meta[WORDS] = list(words)
        try:
            with self._stdout(), find(words[0]).make_context(words[0], list(words[1:]), parent=self.parent) as context:
                result = context.command.invoke(context)
            code = result if isinstance(result, int) else 0
        except Exception as error:  # noqa: BLE001 - as of a command of its own: what comes after it still has its turn
            code = explain(error, words, settings().state)
        sys.stdout.flush()  # into a pipe too, before the next one says what it does
        self.phases.append((words[0], code, time.monotonic() - began))
        return code

    @contextlib.contextmanager
    def _stdout(self) -> Iterator[None]:
        with contextlib.redirect_stdout(io.StringIO()) if self.silent else contextlib.nullcontext():
            yield

    @property
    def code(self) -> int:
        """That of the first phase that did not go well; a ping that was not answered is no verdict."""
        return next((code for name, code, _ in self.phases if code and name != "trace"), 0)
