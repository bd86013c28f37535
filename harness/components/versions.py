"""Versions as programs print them, and the ranges that the lock accepts."""

from __future__ import annotations

import re

_VERSION = re.compile(r"\d+(?:\.\d+)+")
_BOUND = re.compile(r"(>=|<=|==|<|>)\s*(\d+(?:\.\d+)*)")


def find_version(text: str) -> str:
    """The first dotted number in what a program printed, or an empty string.

    Args:
        text: As `runc version 1.1.5+ds1`, `etcd Version: 3.4.23`, a Debian version with its epoch `1:9.18.49-1`.
    """
    match = _VERSION.search(text)
    return match.group() if match else ""


def _key(version: str, width: int) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in version.split("."))
    return (numbers + (0,) * width)[:width]


def accepts(bounds: str, version: str) -> bool:
    """Whether a version lies in a range.

    Args:
        bounds: As `>=1.6,<3`; empty accepts everything.
        version: Dotted number. A shorter number is filled with zeros: `3` is `3.0`.

    Raises:
        ValueError: The range cannot be read.
    """
    for part in filter(None, (piece.strip() for piece in bounds.split(","))):
        match = _BOUND.fullmatch(part)
        if match is None:
            msg = f"cannot read the version bound {part!r}"
            raise ValueError(msg)
        if not version:
            return False
        operator, limit = match.groups()
        width = max(limit.count("."), version.count(".")) + 1
        have, want = _key(version, width), _key(limit, width)
        verdict = {"<": have < want, "<=": have <= want, "==": have == want, ">=": have >= want, ">": have > want}
        if not verdict[operator]:
            return False
    return True
