"""Whether what was broken is what the suite names as the cause: by keys of things, and never by words. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.faults.model import Fault
from harness.model.cause import Cause
from harness.model.expression import ExpressionError, render


def patterns(fault: Fault, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys of causes that name what a fault breaks.

    Args:
        fault: The fault; where it says nothing, its rules in the table `inet kfault` are what it breaks.
        values: Of the names that its commands use.
    """
    return tuple(_filled(fault, values))


def _filled(fault: Fault, values: Mapping[str, Any]) -> Iterator[str]:
    own = [f"{node}/nft/inet kfault/*" for node in fault.table]
    for text in fault.blames or own:
        try:
            yield render(text, values)
        except ExpressionError:  # a network without such a thing has no such cause
            continue


def rank(causes: Sequence[Cause], wanted: Sequence[str]) -> int:
    """The place in the list of causes of the first one that names what was broken; 0: none does.

    Args:
        causes: As they are told, the first one first.
        wanted: Patterns of keys.
    """
    shapes = [re.compile(fnmatch.translate(text.replace("[", "[[]"))) for text in wanted]
    return next((at for at, one in enumerate(causes, 1) if any(shape.match(one.key) for shape in shapes)), 0)
