"""What a YAML reader made, as data that JSON has, too; and values as an error may print them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from harness import yamlio
from harness.errors import Problem

_LONGEST: Final = 63
"""Bits of a whole number. JSON's readers know no more, and YAML's make numbers of any length."""


def plain_data(document: Any, source: str) -> tuple[dict[str, Any], list[Problem]]:
    """The document as JSON-able data; values that YAML reads as something else become problems.

    Args:
        document: Of `yamlio.read_user_file`.
        source: Where it is from, for problems.
    """
    reading = _Reading(document, source)
    return reading.convert(document, ()), reading.problems


class _Reading:
    """One pass over a document."""

    def __init__(self, document: Any, source: str) -> None:
        self.document = document
        self.source = source
        self.problems: list[Problem] = []

    def convert(self, value: Any, path: tuple[Any, ...]) -> Any:
        """A value as JSON has it."""
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    self._wrong((*path, key), path, f"has the key {seen(key)}", "keys that are text")
            return {str(key): self.convert(item, (*path, key)) for key, item in value.items() if isinstance(key, str)}
        if isinstance(value, list):
            return [self.convert(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, int) and value.bit_length() > _LONGEST:
            self._wrong(path, path, f"is a number of {value.bit_length()} bits", f"at most {_LONGEST}")
            return 0
        if isinstance(value, float) and not math.isfinite(value):
            self._wrong(path, path, f"is {float(value)}", "a number")
            return 0.0
        return _scalar(value)

    def _wrong(self, at: tuple[Any, ...], path: tuple[Any, ...], message: str, expected: str) -> None:
        where = "{}:{}:{}".format(self.source, *yamlio.position(self.document, at))
        self.problems.append(Problem(where, dotted_path(path), message, expected))


def _scalar(value: Any) -> Any:
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return None if value is None else str(value)


def dotted_path(path: tuple[Any, ...]) -> str:
    """A path in a document, as an error names it: on one line, and not longer than one can read."""
    return _line(".".join(str(part) for part in path), 120) or "(document)"


def seen(value: Any) -> str:
    """A value as it may be printed: short, on one line, no control characters."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "empty"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return f"'{_line(str(value), 60)}'" + (f" ({len(str(value))} characters)" if len(str(value)) > 60 else "")


def _line(text: str, most: int) -> str:
    escaped = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return escaped if len(escaped) <= most else f"{escaped[: most - 10]}…"
