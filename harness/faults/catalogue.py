"""The fault catalogue, read from `catalogue.yaml`."""

from __future__ import annotations

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


def choose(only: tuple[str, ...]) -> list[Fault]:
    """Faults by id or name; all when none is named.

    Raises:
        UsageError: There is no such fault.
    """
    known = {word: fault for fault in faults() for word in (fault.id, fault.name)}
    missing = [word for word in only if word not in known]
    if missing:
        msg = f"there is no fault named {missing[0]!r}"
        raise UsageError(msg, next_step=f"choose from {', '.join(fault.id for fault in faults())}")
    wanted = {known[word].id for word in only}
    return [fault for fault in faults() if not wanted or fault.id in wanted]
