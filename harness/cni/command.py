"""A command for a node, as a plan has it. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A program to run on a node.

    Args:
        argv: Its vector.
        stdin: Text for its standard input.
        may_fail: Its failure is no news: what it takes away may be gone already.
    """

    argv: tuple[str, ...]
    stdin: str = ""
    may_fail: bool = False
