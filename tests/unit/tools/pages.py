"""Blocks of documentation that are files, or changes of files: the fence's info string has the path as `title=…`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"^(?P<fence>`{3,}|~{3,})(?P<language>\w*)[^\S\n]*(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        language: First word of the info string.
        title: Path that it is, or changes; empty for one that is only read.
        text: What is in it.
    """

    language: str
    title: str
    text: str

    @property
    def changes(self) -> bool:
        """It changes a file that is there."""
        return self.language == "diff"


def blocks(page: Path) -> Iterator[Block]:
    """All blocks of a page, in order."""
    for found in FENCE.finditer(page.read_text(encoding="utf-8")):
        title = re.search(r"\btitle=(\S+)", found["info"])
        yield Block(found["language"], title[1] if title else "", found["text"])


def follow(page: Path, tree: Path) -> list[str]:
    """Do what a page says: write its files, apply its changes.

    Returns:
        The paths, in order.
    """
    done = []
    for block in blocks(page):
        if not block.title:
            continue
        path = tree / block.title
        if block.changes:
            text = changed(path.read_text(encoding="utf-8"), block.text, f"{page.name}: {block.title}")
        else:
            assert not path.exists(), f"{page.name} makes {block.title}, which is there"
            text = block.text
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # it may be another name of the original file
        path.write_text(text, encoding="utf-8")
        done.append(block.title)
    return done


def changed(text: str, diff: str, what: str) -> str:
    """A text with a change: lines begin with `-`, `+` or a blank, as of a unified diff without numbers.

    Args:
        text: Has the old lines exactly once.
        diff: The change. `…` at the end of a line that stays stands for its rest.
        what: Named where it has not.
    """
    lines = [(line[:1] or " ", line[1:]) for line in diff.splitlines()]
    old = "".join(f"({_pattern(words)}\\n)" for sign, words in lines if sign != "+")
    found = list(re.finditer(f"^{old}", text, re.MULTILINE))
    assert len(found) == 1, f"{what} has {len(found)} times:\n{diff}"
    there = iter(found[0].groups())
    new = ""
    for sign, words in lines:
        kept = next(there) if sign != "+" else f"{words}\n"
        new += kept if sign != "-" else ""
    return text[: found[0].start()] + new + text[found[0].end() :]


def _pattern(words: str) -> str:
    return f"{re.escape(words[:-1])}[^\\n]*" if words.endswith("…") else re.escape(words)
