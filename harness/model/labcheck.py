"""What no single field of a lab can know: which variables an expression may use, and which names refer to something."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from harness.model import expression, fault
from harness.model.lab import ACTION_PLACE, OF_FAULTS, VARIABLES, LabFault, Step
from harness.model.words import expressions as expressions_in
from harness.model.words import names

Where = tuple[str | int, ...]
Found = tuple[Where, str, frozenset[str]]
"""Path in the step, the expression, and the names that only it may use."""

NO_ID: Final = "no-id"
"""Id of a step whose own is wrong; its problem is known already."""

_SAVED: Final = re.compile(r"\bsaved\.([a-z][a-z0-9_]*)")


def _of_command(step: Step) -> Iterator[Found]:
    words: list[tuple[Where, str]] = [(("run", index), word) for index, word in enumerate(step.run)]
    words += [(("on",), step.on), (("input",), step.input)]
    for index, tap in enumerate(step.capture):
        words += [(("capture", index), word) for word in (tap.on, tap.interface, *tap.filter)]
    for path, word in words:
        yield from ((path, source, frozenset()) for source in expressions_in(word))
    for key, whole in (("when", step.when), ("for", step.for_), ("retryUntil", step.retry_until)):
        if whole:
            yield (key,), whole, frozenset()


def _of_results(step: Step) -> Iterator[Found]:
    let: set[str] = set()
    for name, source in step.let.items():
        yield ("let", name), source, frozenset(let)
        let.add(name)
    known = frozenset(let)
    for index, expect in enumerate(step.expect):
        yield ("expect", index, "that"), expect.that, known
        if expect.for_:
            yield ("expect", index, "for"), expect.for_, known
    for index, table in enumerate(step.tables):
        yield ("tables", index, "of"), table.of, known
        yield from ((("tables", index, "columns", name), source, known) for name, source in table.columns.items())
    for index, plot in enumerate(step.plots):
        yield ("plots", index, "of"), plot.of, known
        yield ("plots", index, "at"), plot.at, known
        yield from ((("plots", index, "series", name), source, known) for name, source in plot.series.items())


def expressions(step: Step) -> Iterator[Found]:
    """Every expression of a step."""
    yield from _of_command(step)
    yield from _of_results(step)


def _saved_for(one: LabFault) -> set[str]:
    """What steps must have saved before a fault is injected: from then on it may have to be undone."""
    sources = (source for _, text, _ in fault.texts(one) for source in expressions_in(text))
    return {name for source in sources for name in _SAVED.findall(source)}


def _of_fault(one: LabFault) -> Iterator[tuple[Where, str]]:
    unknown = sorted(names(one.on) - OF_FAULTS)
    if unknown:
        yield ("on",), f"uses {', '.join(unknown)}, which is no variable of a fault"
    yield from fault.unclear(one, OF_FAULTS)
    for key, actions in (("inject", one.inject), ("undo", one.undo)):
        for index, action in enumerate(actions):
            if action.at and not ACTION_PLACE.match(action.at):
                yield (key, index, "at"), "is not one place: several are possible for the fault, with 'on'"


def _of_step(step: Step, faults: Mapping[str, LabFault | None], saved: AbstractSet[str]) -> Iterator[tuple[Where, str]]:
    """What is wrong with a step, given what the steps before it saved."""
    now = {*saved, *([step.save] if step.save else [])}
    for path, source, extra in expressions(step):
        unknown = sorted(expression.names(source) - VARIABLES - extra)
        if unknown:
            yield path, f"uses {', '.join(unknown)}, which no step defines"
        if missing := sorted(set(_SAVED.findall(source)) - now):
            yield path, f"uses saved.{', saved.'.join(missing)}, which no step before it saves"
    for key, name in (("inject", step.inject), ("repair", step.repair)):
        if name is not None and name not in faults:
            yield (key,), f"no fault is named '{name}'"
    injected = faults.get(step.inject or "")
    if injected and (missing := sorted(_saved_for(injected) - saved)):
        yield ("inject",), f"the fault uses saved.{', saved.'.join(missing)}, which no step before this one saves"
    if not step.run and (step.save or step.retry_until) and not step.let:
        yield ("id",), "saves or retries, but has no command to run"


def contradictions(
    steps: Iterable[tuple[int, Step]], faults: Mapping[str, LabFault | None]
) -> Iterator[tuple[tuple[Any, ...], str]]:
    """What is wrong between the parts of a lab: path in the file, and what is the matter there.

    Args:
        steps: Those that are valid by themselves, with their number in the file.
        faults: The lab's faults by name; None for one that is not valid by itself.
    """
    for name, one in faults.items():
        yield from ((("faults", name, *path), text) for path, text in (_of_fault(one) if one else ()))
    ids: set[str] = set()
    saved: set[str] = set()
    for number, step in steps:
        if step.id in ids and step.id != NO_ID:
            yield ("steps", number, "id"), f"'{step.id}' is also the id of an earlier step"
        ids.add(step.id)
        yield from ((("steps", number, *path), text) for path, text in _of_step(step, faults, saved))
        saved |= {step.save} if step.save else set()
