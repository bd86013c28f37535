"""A workshop text as a learner follows it: its commands are typed, and what they print is compared with what it shows.

Blocks of the language `console` have commands in lines that begin with `$ `, and below each what it prints. A line `…`
stands for lines that are left out, and `…` in a line for any words. Numbers and addresses that differ from run to run
may differ: what is compared is the shape.
"""

from __future__ import annotations

import difflib
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.unit.tools.pages import FENCE

PROMPT: Final = "$ "
LEFT_OUT: Final = "…"

_VARIES: Final = (
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"), "MAC"),
    (re.compile(r"\bfe80::[0-9a-f:]+"), "LINK-LOCAL"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,}\b"), "ID"),
    (re.compile(r"\bveth[0-9a-f]{6,}\b"), "VETH"),
    (re.compile(r"(?<![\d.])\d+\.\d+(?![\d.])"), "N"),
    (re.compile(r"\d+"), "N"),
    (re.compile(r"[ \t]+"), " "),
)
"""What differs from run to run, and what stands for it."""


@dataclass(frozen=True)
class Typed:
    """A command of a text.

    Args:
        command: What is typed, without the prompt.
        shown: What the text shows that it prints.
        line: Of the text.
    """

    command: str
    shown: str
    line: int


def commands(text: str) -> Iterator[Typed]:
    """All commands of a text, in order. Pure."""
    for block in FENCE.finditer(text):
        if block["language"] == "console":
            yield from _of_block(block["text"], text.count("\n", 0, block.start("text")) + 1)


def _of_block(text: str, first: int) -> Iterator[Typed]:
    command, at = "", first
    shown: list[str] = []
    for number, line in enumerate(text.splitlines(), start=first):
        if command.endswith("\\") and not shown:
            command = f"{command}\n{line}"
        elif line.startswith(PROMPT):
            if command:
                yield Typed(command, "\n".join(shown), at)
            command, shown, at = line.removeprefix(PROMPT), [], number
        else:
            shown.append(line)
    if command:
        yield Typed(command, "\n".join(shown), at)


def shape(text: str) -> str:
    """A text without what differs from run to run. Pure."""
    for pattern, instead in _VARIES:
        text = pattern.sub(instead, text)
    return "\n".join(line.strip() for line in text.splitlines())


def same_shape(shown: str, printed: str) -> bool:
    """Whether what was printed is what a text shows. Pure.

    Args:
        shown: By the text; lines `…` stand for any lines, `…` in a line for any words.
        printed: By the command.
    """
    lines = [line for line in shape(shown).splitlines() if line]
    pattern = ""
    for line in lines:
        if line == LEFT_OUT:
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(map(re.escape, line.split(LEFT_OUT))) + r"\n"
    there = "".join(f"{line}\n" for line in shape(printed).splitlines() if line)
    return re.fullmatch(pattern, there) is not None


def difference(shown: str, printed: str) -> str:
    """The two shapes, one against the other, for people."""
    return "\n".join(difflib.ndiff(shape(shown).splitlines(), shape(printed).splitlines()))


def type_all(page: Path, environment: Mapping[str, str], folder: Path, *, seconds: float) -> list[str]:
    """Type every command of a text into a shell, in order.

    Args:
        page: The text.
        environment: Of the shell; its PATH has `cnilab`.
        folder: The shell's directory.
        seconds: For each command.

    Returns:
        Where the text is not as it is, in words; empty is good.
    """
    wrong = []
    for one in commands(page.read_text(encoding="utf-8")):
        done = subprocess.run(
            ["/bin/bash", "-c", one.command],
            cwd=folder,
            env=dict(environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        printed = done.stdout + done.stderr
        if not same_shape(one.shown, printed):
            wrong.append(f"{page.parent.name}:{one.line}: $ {one.command}\n{difference(one.shown, printed)}")
    return wrong
