"""Versions as programs print them, which is the newer one, and the ranges that the lock accepts."""

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


def numbers(version: str, width: int = 3) -> tuple[int, ...]:
    """By these versions are older and newer: (1, 20, 0) of `1.20`, `v1.20.0` and `1.20.0-rc.1`.

    Args:
        version: As somebody writes it, with whatever is around it.
        width: So many numbers; those that it lacks are zeros.
    """
    found = re.findall(r"\d+", find_version(version) or version)[:width]
    return (*map(int, found), *[0] * (width - len(found)))


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
        have, want = numbers(version, width), numbers(limit, width)
        verdict = {"<": have < want, "<=": have <= want, "==": have == want, ">=": have >= want, ">": have > want}
        if not verdict[operator]:
            return False
    return True
