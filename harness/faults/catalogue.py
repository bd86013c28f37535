"""The fault catalogue, read from `catalogue.yaml`."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness import yamlio
from harness.errors import Problem, SpecError, UsageError
from harness.faults.model import Fault
from harness.model.ownfiles import mistakes

_FILE = Path(__file__).with_suffix(".yaml")
_FAULTS: TypeAdapter[tuple[Fault, ...]] = TypeAdapter(tuple[Fault, ...])


@cache
def faults() -> tuple[Fault, ...]:
    """All faults, in the order in which they are run.

    Raises:
        SpecError: The catalogue is wrong; with every mistake and its line.
    """
    return read(_FILE)


def read(path: Path) -> tuple[Fault, ...]:
    """The faults of a file.

    Args:
        path: YAML, a list of faults.

    Raises:
        SpecError: With every mistake and its line; an id or a name that two faults have is one.
    """
    try:
        found = _FAULTS.validate_python(yamlio.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        msg = "the catalogue of faults is wrong"
        raise SpecError(msg, mistakes(path, error, tuple[Fault, ...])) from error
    used = Counter(word for fault in found for word in (fault.id, fault.name))
    if twice := [word for word, count in used.items() if count > 1]:
        msg = "the catalogue of faults is wrong"
        raise SpecError(msg, [Problem(str(path), word, "is used by two faults") for word in twice])
    return found


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
