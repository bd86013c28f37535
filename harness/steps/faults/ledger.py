"""Injecting a fault under the eyes of a record, and taking back what the record says: two processes may do the two."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from harness.errors import CnilabError
from harness.faults.inject import Command, Injected, Scene
from harness.faults.model import Fault
from harness.model import injection
from harness.model.injection import Injection, Step
from harness.model.journal import now
from harness.model.labstate import LabDir
from harness.runner import CommandError
from harness.steps.faults.places import Places


class Ledger:
    """What is injected in a cluster; every change is in its file before the next command runs.

    Args:
        place: The cluster's directories.

    Raises:
        UsageError: The file cannot be read.
    """

    def __init__(self, place: LabDir) -> None:
        self._place = place
        self._items = {one.fault: one for one in injection.read(place)}

    @property
    def items(self) -> tuple[Injection, ...]:
        """In the order of injection."""
        return tuple(self._items.values())

    def put(self, item: Injection) -> Injection:
        """Keep what is known of a fault now; a new one comes last."""
        self._items[item.fault] = item
        injection.write(self._place, self.items)
        return item

    def drop(self, item: Injection) -> None:
        """Nothing of the fault is left."""
        del self._items[item.fault]
        injection.write(self._place, self.items)


@dataclass
class TakenBack:
    """What became of a fault that was taken back.

    Args:
        item: As it was before.
        ran: Commands that ran.
        moot: Commands in pods that are gone.
        doubtful: Commands that failed, perhaps since what they undo never happened.
        shared: Programs that another fault keeps stopped.
        failures: What went wrong, by command; these are tried again.
    """

    item: Injection
    ran: list[Step] = field(default_factory=list)
    moot: list[Step] = field(default_factory=list)
    doubtful: list[Step] = field(default_factory=list)
    shared: list[Step] = field(default_factory=list)
    failures: list[tuple[Step, CnilabError]] = field(default_factory=list)


def inject(fault: Fault, scene: Scene, places: Places, ledger: Ledger, *, secret: bool) -> Injection:
    """Inject a fault. It is written down first; and before each command, what takes back this one, too.

    Raises:
        CommandError: A command failed. What was done is still there, and in the ledger.
        ExpressionError: A value is not there; likewise.
    """
    done = Injected(fault)
    item = Injection(
        fault=fault.id, name=fault.name, title=fault.title, family=fault.family, secret=secret, began=now()
    )
    item = ledger.put(item.model_copy(update={"undo": _steps(done.ways_back(scene), places)}))

    def before(command: Command) -> None:
        nonlocal item
        did = (*item.did, *_steps([command], places))
        item = ledger.put(item.model_copy(update={"did": did, "undo": _steps(done.ways_back(scene), places)}))

    done.inject(scene, before)
    return ledger.put(item.model_copy(update={"complete": True, "undo": _steps(done.ways_back(scene), places)}))


def _steps(commands: Collection[Command], places: Places) -> tuple[Step, ...]:
    return tuple(Step(**dict(one.act), where=places.where(one.spot.name)) for one in commands)


def take_back(item: Injection, places: Places, ledger: Ledger) -> TakenBack:
    """Undo a fault by what the ledger says, and go on after a failure.

    A command that fails is kept, to be tried again. Unless it may have had nothing to undo: the injection was not
    complete, or the last attempt to undo ended with this very command.

    Args:
        item: The fault.
        places: Of the cluster.
        ledger: Loses each step that was done, and the fault with the last one.
    """
    outcome = TakenBack(item)
    others = [other for other in ledger.items if other.fault != item.fault]
    held = {step for other in others for step in other.undo if step.part == "program"}
    repeated = item.clearing
    todo = (*item.undo, *item.failed)
    left = ledger.put(item.model_copy(update={"clearing": True, "undo": todo, "failed": ()}))
    while left.undo:
        step, *rest = left.undo
        failed = left.failed
        if step in held:
            outcome.shared.append(step)
        elif (error := _run(step, places, outcome)) is not None:
            if _ended(error) and (repeated or not item.complete):
                outcome.doubtful.append(step)
            else:
                outcome.failures.append((step, error))
                failed = (*failed, step)
        repeated = False
        left = ledger.put(left.model_copy(update={"undo": tuple(rest), "failed": failed}))
    if left.failed:
        ledger.put(left.model_copy(update={"clearing": False}))
    else:
        ledger.drop(left)
    return outcome


def _run(step: Step, places: Places, outcome: TakenBack) -> CnilabError | None:
    try:
        spot = places.spot(step.where)
        if spot is None:
            outcome.moot.append(step)
            return None
        Command(spot, step).run()
    except CnilabError as error:
        return error
    outcome.ran.append(step)
    return None


def _ended(error: CnilabError) -> bool:
    """The command ran to its end, and said that it failed."""
    return isinstance(error, CommandError) and error.completed is not None
