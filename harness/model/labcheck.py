"""What no single field of a lab can know: which variables an expression may use, and which names refer to something."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from harness.model import expression
from harness.model.lab import VARIABLES, Step

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
        yield from ((path, source, frozenset()) for source in expression.placeholders(word))
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


def contradictions(steps: Iterable[tuple[int, Step]], faults: Iterable[str]) -> Iterator[tuple[tuple[Any, ...], str]]:
    """What is wrong between the parts of a lab: path in the file, and what is the matter there.

    Args:
        steps: Those that are valid by themselves, with their number in the file.
        faults: Names of the lab's faults.
    """
    ids: set[str] = set()
    saved: set[str] = set()
    defined = set(faults)
    for number, step in steps:
        here = ("steps", number)
        if step.id in ids and step.id != NO_ID:
            yield (*here, "id"), f"'{step.id}' is also the id of an earlier step"
        ids.add(step.id)
        if step.save:
            saved.add(step.save)
        for path, source, extra in expressions(step):
            unknown = sorted(expression.names(source) - VARIABLES - extra)
            if unknown:
                yield (*here, *path), f"uses {', '.join(unknown)}, which no step defines"
            missing = sorted(set(_SAVED.findall(source)) - saved)
            if missing:
                yield (*here, *path), f"uses saved.{', saved.'.join(missing)}, which no step before it saves"
        for key, fault in (("inject", step.inject), ("repair", step.repair)):
            if fault is not None and fault not in defined:
                yield (*here, key), f"no fault is named '{fault}'"
        if not step.run and (step.save or step.retry_until) and not step.let:
            yield (*here, "id"), "saves or retries, but has no command to run"
