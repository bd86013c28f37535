"""Text of others in Markdown: harmless, and not too much of it."""

from __future__ import annotations

import re
from typing import Final

LIMIT: Final = 200_000
"""Bytes. GitHub refuses a step summary above 1024 k; a summary that long is none."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#!~@])")


def plain(text: str) -> str:
    """The text with Markdown's and HTML's own characters made harmless, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def html(text: str) -> str:
    """The text inside an HTML element."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    """The text between backticks, also in a table."""
    return text.replace("`", "'").replace("|", "¦").replace("\n", " ")


def fenced(text: str) -> str:
    """The text in a fenced block."""
    return text.replace("```", "'''")


def fit(parts: list[str]) -> str:
    """The parts, at most `LIMIT` bytes; what does not fit is left out from the end, and the text says so."""
    note = "\n_The rest is in the HTML report._\n"
    room = LIMIT - len(note.encode())
    kept: list[str] = []
    for part in parts:
        room -= len(part.encode())
        if room < 0:
            return "".join([*kept, note])
        kept.append(part)
    return "".join(kept)
