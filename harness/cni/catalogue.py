"""The CNI variants that this version knows: data files beside this module."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from harness import yamlio
from harness.errors import Problem, SpecError, UsageError
from harness.model.variant import Variant

_FOLDER = Path(__file__).parent / "variants"


def names() -> list[str]:
    """Names of all variants."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


@cache
def variant(name: str) -> Variant:
    """Load a variant.

    Raises:
        UsageError: There is none of that name; suggests the nearest.
        SpecError: Its file is wrong.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        msg = f"there is no CNI variant named {name[:60]!r}"
        hint = f"did you mean '{near[0]}'?" if near else "choose one of those"
        raise UsageError(msg, cause=f"variants: {', '.join(names())}", next_step=hint)
    path = _FOLDER / f"{name}.yaml"
    try:
        return Variant.model_validate(yamlio.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        msg = f"variant file {path.name} is wrong"
        problems = [
            Problem(str(path), ".".join(str(part) for part in fault["loc"]), fault["msg"]) for fault in error.errors()
        ]
        raise SpecError(msg, problems) from error
