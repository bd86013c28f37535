"""The nightly matrix: read it, and find out which of its cells this machine can run, and why not the others."""

from __future__ import annotations

import difflib
import json
import platform
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from harness import yamlio
from harness.cni import catalogue
from harness.components import tools
from harness.errors import CnilabError, Problem, SpecError, UsageError
from harness.model import matrix as model
from harness.model.family import TITLE, IpFamily
from harness.model.load import make_spec
from harness.model.matrix import Cell, Group, Matrix
from harness.model.plain import dotted_path, plain_data, seen
from harness.model.references import Known, wanted
from harness.model.variant import Need
from harness.providers import registry
from harness.steps.doctor.examine import examine
from harness.steps.doctor.model import Finding, Plan
from harness.steps.labs.choose import list_labs

NIGHTLY = Path(__file__).resolve().parents[2] / "matrix.yaml"
"""The matrix of this version."""

_NEEDS = frozenset(get_args(Need))

_MOST = 200
"""Characters of a reason."""

Examine = Callable[[Plan], Sequence[Finding]]


def load(path: Path | None = None) -> list[Cell]:
    """All cells of a matrix.

    Args:
        path: A user's file; None: the nightly matrix. That one may name variants that are still to come: such a cell
            is unavailable. In a user's file they are errors.

    Raises:
        UsageError: The file cannot be read.
        SpecError: Something in it is wrong; has every problem.
    """
    source = path or NIGHTLY
    document = yamlio.read_user_file(source, "a matrix")
    parsed = _parse(document, source)
    known = catalogue.names()
    if path is not None and (problems := list(_references(parsed, document, source, known))):
        msg = f"{source} has {len(problems)} {'problem' if len(problems) == 1 else 'problems'}"
        raise SpecError(msg, problems)
    found = list(model.cells(parsed, known, _usual))
    _distinct(found, source)
    return [_possible(cell, known) for cell in found]


def _usual(group: Group, variant: str) -> IpFamily:
    """Of a cell that leaves it open: this machine is not asked, so that a night has the same cells everywhere."""
    if variant not in catalogue.names():
        return "ipv4"
    # A cluster of others is tried on one that namespaces stand in for.
    return registry.usual_families(variant, "namespaces" if group.provider == "existing" else group.provider)


def _possible(cell: Cell, known: Collection[str]) -> Cell:
    """The cell, and why it can run nowhere, if so: there is no such variant, or its pods cannot have these families."""
    if cell.variant not in known:
        return _without(cell, f"no variant '{cell.variant}' yet")
    able = {"variant": catalogue.variant(cell.variant).families, "provider": registry.families(cell.provider)}
    for what, families in able.items():
        lacking = wanted(cell.ip_family) - set(families)
        if lacking:
            name = cell.variant if what == "variant" else cell.provider
            return _without(
                cell, f"the {what} '{name}' has no {' and no '.join(TITLE[one] for one in sorted(lacking))}"
            )
    return cell


def _parse(document: Any, source: Path) -> Matrix:
    plain, problems = plain_data(document, str(source))
    if problems:
        msg = f"{source} is not a matrix"
        raise SpecError(msg, problems)
    try:
        return Matrix.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        problems = [Problem(_where(document, source, path), dotted_path(path), text) for path, text in _faults(error)]
        msg = f"{source} is not a matrix"
        raise SpecError(msg, problems) from error


def _faults(error: ValidationError) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where and what. A list without its wrong items may seem too short, which helps nobody."""
    paths = [fault["loc"] for fault in error.errors(include_url=False)]
    for fault in error.errors(include_url=False):
        path = fault["loc"]
        if not any(other[: len(path)] == path and other != path for other in paths):
            # What may be one of two things is reported once for each, with the thing in the path: `tuple[…]`.
            yield tuple(part for part in path if "[" not in str(part)), fault["msg"].lower()


def _where(document: Any, source: Path, path: tuple[str | int, ...]) -> str:
    line, column = yamlio.position(document, path)
    return f"{source}:{line}:{column}"


def _references(parsed: Matrix, document: Any, source: Path, known: Collection[str]) -> Iterator[Problem]:
    labs = [lab.id for lab in list_labs()]
    for number, group in enumerate(parsed.groups):
        for key, named, there in (("variants", group.variants, known), ("labs", group.labs, labs)):
            for index, name in enumerate(named) if isinstance(named, tuple) else ():
                if name not in there:
                    path = ("groups", number, key, index)
                    near = difflib.get_close_matches(name, there, n=1)
                    yield Problem(
                        _where(document, source, path),
                        dotted_path(path),
                        f"is {seen(name)}",
                        f"the name of one of the {key}",
                        f"did you mean '{near[0]}'?" if near else f"they are: {', '.join(there)}"[:300],
                    )


def _distinct(found: list[Cell], source: Path) -> None:
    ids = [cell.id for cell in found]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    if twice:
        msg = f"{source} has several cells with the same name"
        raise UsageError(msg, cause=", ".join(twice), next_step="give one of their groups a 'name'")


def _without(cell: Cell, reason: str) -> Cell:
    return replace(cell, unavailable=cell.unavailable or reason)


def choose(found: list[Cell], wanted: Sequence[str]) -> list[Cell]:
    """The cells of these ids, in the matrix's order; all of them without ids.

    Raises:
        UsageError: An id is none; suggests the nearest.
    """
    ids = [cell.id for cell in found]
    for one in wanted:
        if one not in ids:
            near = difflib.get_close_matches(one, ids, n=1)
            msg = f"the matrix has no cell '{one[:60]}'"
            hint = f"did you mean '{near[0]}'?" if near else "'cnilab matrix list' shows all"
            raise UsageError(msg, cause=f"cells: {', '.join(ids)}", next_step=hint)
    return [cell for cell in found if not wanted or cell.id in wanted]


def judged(found: list[Cell], state: Path, cache: Path, *, look: Examine = examine) -> list[Cell]:
    """The cells, each with the reason why it cannot run on this machine, if it cannot.

    The machine is asked once per provider and IP families, not once per cell: checks make links and mounts to see what
    the kernel does.

    Args:
        found: Cells of a matrix.
        state: The state directory.
        cache: The cache directory.
        look: Runs the checks of `doctor`.
    """
    answers: dict[tuple[str, str], Sequence[Finding] | str] = {}
    result = []
    for cell in found:
        if not cell.unavailable:
            # A cluster of others is tried on one that a lab on namespaces stands in for.
            where = "namespaces" if cell.provider == "existing" else cell.provider
            asked = where, cell.ip_family
            if asked not in answers:
                answers[asked] = _ask(where, cell, state, cache, look)
            cell = _without(cell, _reason(cell, answers[asked]))  # noqa: PLW2901 - the same cell, knowing more
        result.append(cell)
    return result


def _ask(provider: str, cell: Cell, state: Path, cache: Path, look: Examine) -> Sequence[Finding] | str:
    options = {"spec.cni": cell.variant, "spec.provider": provider, "spec.nodes": cell.nodes}
    options["spec.ipFamily"] = cell.ip_family
    try:
        spec = make_spec(Known(catalogue.names()), options)
        return look(Plan(spec, state, cache))
    except CnilabError as error:
        return error.what


def _machine_lacks() -> str:
    if platform.machine() != "x86_64":
        return f"the virtual machine needs an x86_64 processor; this one is {platform.machine()}"
    if shutil.which("qemu-system-x86_64") or tools.may_install():
        return ""
    return "qemu-system-x86_64 is missing, and cannot be installed"


def _reason(cell: Cell, answer: Sequence[Finding] | str) -> str:
    """What blocks this cell: what any lab needs, and what its variant needs of the kernel."""
    if isinstance(answer, str):
        return answer
    if cell.kernel != "host" and (lacks := _machine_lacks()):
        return lacks
    needs = set(catalogue.variant(cell.variant).needs)
    if cell.kernel != "host":
        # Another kernel has what a variant needs of a kernel; this machine still has to have the rest.
        needs &= catalogue.NOT_OF_KERNEL
    blocking = [one for one in answer if _blocks(one, needs)]
    return shorten("; ".join(f"{one.check.title}: {one.detail or one.check.consequence}" for one in blocking))


def shorten(text: str) -> str:
    """The first part of a reason that quotes a program at length."""
    line = text.partition("\n")[0]
    return line if len(line) <= _MOST else f"{line[: _MOST - 1]}…"


def _blocks(found: Finding, needs: Collection[str]) -> bool:
    # What only some variants need was judged for the one that asked first.
    if found.check.id in _NEEDS:
        return found.check.id in needs and found.status != "ok"
    return found.status == "blocks"
