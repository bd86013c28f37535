"""The fault catalogue, read from `catalogue.yaml`."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from harness import yamlio
from harness.errors import UsageError
from harness.faults.model import Fault

_FILE = Path(__file__).with_suffix(".yaml")
_FAULTS: TypeAdapter[tuple[Fault, ...]] = TypeAdapter(tuple[Fault, ...])


@cache
def faults() -> tuple[Fault, ...]:
    """All faults, in the order in which they are run."""
    return _FAULTS.validate_python(yamlio.loads(_FILE.read_text(encoding="utf-8")))


def choose(only: Collection[str]) -> list[Fault]:
    """Faults by id or name, in the order of the catalogue; all when none is named.

    Raises:
        UsageError: There is no such fault.
    """
    wanted = {find(word).id for word in only}
    return [fault for fault in faults() if not wanted or fault.id in wanted]


def find(word: str) -> Fault:
    """A fault by id or name; the case of letters does not matter.

    Raises:
        UsageError: There is no such fault; says which may have been meant.
    """
    known = {key.lower(): fault for fault in faults() for key in (fault.id, fault.name)}
    if found := known.get(word.lower()):
        return found
    near = {known[key].id: known[key].name for key in difflib.get_close_matches(word.lower(), known, n=3)}
    meant = " or ".join(f"{key} {name}" for key, name in near.items())
    msg = f"there is no fault named {word[:60]!r}"
    step = f"did you mean {meant}? 'cnilab fault list' shows all" if near else "'cnilab fault list' shows all"
    raise UsageError(msg, next_step=step)
