"""What a lab broke on purpose, and how that is taken back: by its own steps, or at its end."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import CnilabError
from harness.faults.inject import Done, Failure, Injected, Scene, together
from harness.model.expression import render
from harness.model.lab import LabDefinition
from harness.model.records import LabStep
from harness.model.spot import Spot
from harness.runner import CommandError
from harness.steps.labs import judge
from harness.steps.labs.judge import Outcome
from harness.steps.labs.place import Surroundings


class StepError(CnilabError):
    """A step's command failed, so that the steps after it would mean nothing."""

    exit_code = 1


@dataclass(frozen=True)
class Broken:
    """A fault in one of its places.

    Args:
        name: Of the fault.
        spot: The place.
        injected: What was done there.
    """

    name: str
    spot: Spot
    injected: Injected


class Damage:
    """The faults of a lab that are injected now.

    Args:
        definition: The lab.
        around: The cluster.
    """

    def __init__(self, definition: LabDefinition, around: Surroundings) -> None:
        self._lab = definition
        self._around = around
        self._broken: list[Broken] = []

    def inject(self, name: str, context: Mapping[str, Any]) -> list[Outcome]:
        """Inject a fault in all its places.

        Args:
            name: Of the fault.
            context: Variables of expressions.

        Raises:
            StepError: A command failed.
        """
        fault = self._lab.faults[name]
        outcomes: list[Outcome] = []
        for spot in self._spots(fault.on, context):
            broken = Broken(name, spot, Injected(fault))
            self._broken.append(broken)
            try:
                broken.injected.inject(self._scene(spot, context))
            except CommandError as error:
                what = f"could not inject '{fault.title}'"
                raise _of_step(what, error, broken) from error
            outcomes += _outcomes(broken.injected.ran)
        return outcomes

    def repair(self, name: str, context: Mapping[str, Any], only: str | None = None) -> list[Outcome]:
        """Take a fault back, in all places even if that fails in one.

        Args:
            name: Of the fault.
            context: Variables of expressions.
            only: A place; None: all.

        Raises:
            StepError: A command failed.
        """
        chosen = None if only is None else {spot.label for spot in self._spots(only, context)}
        outcomes: list[Outcome] = []
        failures: list[Failure] = []
        for broken in [one for one in self._broken if one.name == name]:
            if chosen is not None and broken.spot.label not in chosen:
                continue
            done, problems = self._undo(broken, context)
            outcomes += done
            failures += [_of_step(f"could not repair '{name}'", problem, broken) for problem in problems]
            if all(isinstance(problem, CommandError) and problem.completed for problem in problems):
                self._broken.remove(broken)  # what did not run to its end is tried once more at the lab's end
        if failures:
            raise together(failures)
        return outcomes

    def repair_all(self, context: Mapping[str, Any]) -> list[LabStep]:
        """Take back what is still broken, last injected first.

        Args:
            context: Variables of expressions.

        Returns:
            A record for each fault in each place.
        """
        records = []
        for broken in reversed(self._broken):
            done, problems = self._undo(broken, context)
            fault = broken.injected.fault
            records.append(
                LabStep(
                    lab=self._lab.id,
                    step=f"repair-{broken.name}",
                    title=f"Repair: {fault.title}",
                    place=broken.spot.label,
                    command=shlex.join(done[0].argv) if done else "",
                    status="error" if problems else "pass",
                    reason="; ".join(_said(problem) for problem in problems),
                )
            )
        self._broken.clear()
        return records

    def _undo(self, broken: Broken, context: Mapping[str, Any]) -> tuple[list[Outcome], list[Failure]]:
        before = len(broken.injected.ran)
        problems = broken.injected.undo(self._scene(broken.spot, context))
        return _outcomes(broken.injected.ran[before:]), problems

    def _spots(self, on: str, context: Mapping[str, Any]) -> list[Spot]:
        return self._around.spots(render(on, context), self._lab.namespace)

    def _scene(self, spot: Spot, context: Mapping[str, Any]) -> Scene:
        """The cluster as a fault in one place sees it: that place is where its commands run by default."""
        nodes = tuple(context["nodes"])

        def place(name: str) -> Spot:
            if not name:
                return spot
            return self._around.spots(f"node/{name}" if name in nodes else name, self._lab.namespace)[0]

        return Scene(place, {**context, **spot.facts}, nodes, self._around.agents)


def _outcomes(ran: Sequence[Done]) -> list[Outcome]:
    return [judge.action(done.spot, done.completed, done.argv) for done in ran]


def _of_step(what: str, failure: Failure, broken: Broken) -> Failure:
    """The failure of a step whose fault's command failed; one that did not run to its end stays what it is."""
    if not isinstance(failure, CommandError) or failure.completed is None:
        return failure
    place = next((one.spot for one in broken.injected.ran if one.completed is failure.completed), broken.spot)
    return StepError(what, where=place.label, cause=failure.cause)


def _said(failure: Failure) -> str:
    return failure.cause if isinstance(failure, CommandError) and failure.completed else str(failure)
