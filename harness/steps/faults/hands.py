"""`cnilab fault`: inject faults of the catalogue into a cluster, and clear them, each in a process of its own."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.batches import Batch
from conformance.context import Context
from conformance.page import GATES
from conformance.registry import CHECKS, batches
from harness.errors import CnilabError, UsageError
from harness.faults import catalogue
from harness.faults.inject import Scene
from harness.faults.model import Fault, split_target
from harness.model import injection
from harness.model.expression import ExpressionError
from harness.model.family import Family
from harness.model.fault import texts
from harness.model.injection import Injection, Step
from harness.model.journal import Journal
from harness.model.labstate import LabDir
from harness.model.words import names
from harness.steps.faults.ledger import Ledger, TakenBack, inject, take_back
from harness.steps.faults.places import Places
from harness.steps.faults.scene import SITUATIONS, missing, scene
from harness.steps.faults.survey import survey
from harness.steps.lifecycle.attach import Attached
from harness.steps.suite import deploy as suites
from harness.steps.suite.observe import Pace, observe

BESIDE: tuple[Batch, ...] = ("B6", "B7")
"""Batches beside B0 that bring what faults work with: pods of policies' cases, and the name of the CNI plugin."""


@dataclass(frozen=True)
class Wanted:
    """What is to be injected.

    Args:
        faults: Named ones, in this order; none for one at random.
        seed: Of the choice.
        secret: Nobody is told which fault it is, until it is cleared.
    """

    faults: tuple[Fault, ...] = ()
    seed: int = 0
    secret: bool = False


def place_of(attached: Attached) -> LabDir:
    """Where the cluster's record is."""
    return LabDir(attached.state, attached.spec.name)


def able(attached: Attached) -> dict[str, list[str]]:
    """What the cluster lacks for each fault of the catalogue; nothing for one that it can show.

    Raises:
        BringUpError: The API does not answer.
    """
    seen = survey(attached)
    return {fault.id: missing(fault, seen) for fault in catalogue.faults()}


def awake(attached: Attached) -> dict[str, list[str]]:
    """Faults that are injected and have stopped programs which do not stand still any more -> their nodes.

    A stopped program does not answer its liveness probe, so the kubelet ends it and starts another one, which may mend
    what the fault broke. A program that is a node's own has no probe, and stays as it is.
    """
    places = Places(attached)
    found: dict[str, list[str]] = {}
    for item in injection.read(place_of(attached)):
        gone = [step.where.name for step in item.did if step.part == "program" and not _stands_still(step, places)]
        if gone:
            found[item.fault] = list(dict.fromkeys(gone))
    return found


def _stands_still(step: Step, places: Places) -> bool:
    """The program that a command stopped is stopped (proc_pid_stat(5): state T)."""
    spot = places.spot(step.where)
    if spot is None:
        return False
    stat = spot.runner.run(["cat", f"/proc/{step.run[-1]}/stat"], check=False)
    return stat.ok and stat.stdout.rpartition(")")[2].split()[:1] == ["T"]


def inject_faults(attached: Attached, wanted: Wanted, journal: Journal) -> list[Injection]:
    """Inject faults: all of them, or none.

    Args:
        attached: The cluster.
        wanted: Which.
        journal: Gets a step for each part; nothing of it says which fault is secret.

    Raises:
        UsageError: The cluster cannot show one of them, or has it already.
        CnilabError: A command failed; what this call had done is taken back.
    """
    with injection.held(place_of(attached)):
        ledger = Ledger(place_of(attached))
        _refuse_known(ledger, wanted.faults)
        with journal.step("fault.survey", "pods and Services of the suite, kernel state"):
            quiet = Journal()
            suite = suites.deploy(attached, quiet, disruptive=True)
            seen = observe(suite, ("B0",), Path(), quiet, Pace())
            context = Context(attached.spec, attached.variant, suite.inventory, tuple(seen))
            chosen = wanted.faults or (_at_random(context, ledger, wanted.seed),)
            _refuse_unable(chosen, context)
            if more := _beside(chosen):
                seen += observe(suite, more, Path(), quiet, Pace(policies=frozenset(_concerned(chosen))))
                context = Context(attached.spec, attached.variant, suite.inventory, tuple(seen))
            scenes = {family: scene(suite, context.of(family)) for family in {fault.family for fault in chosen}}
            _refuse_unknown_values(chosen, scenes)
        what = "a secret fault" if wanted.secret else ", ".join(f"{one.id} {one.name}" for one in chosen)
        with journal.step("fault.inject", f"inject {what}"):
            return _all_or_none(chosen, scenes, Places(attached), ledger, secret=wanted.secret)


def _all_or_none(
    chosen: Sequence[Fault], scenes: Mapping[Family, Scene], places: Places, ledger: Ledger, *, secret: bool
) -> list[Injection]:
    before = {one.fault for one in ledger.items}
    try:
        return [inject(fault, scenes[fault.family], places, ledger, secret=secret) for fault in chosen]
    except BaseException as error:
        mine = [one for one in ledger.items if one.fault not in before]
        problems = [problem for one in reversed(mine) for problem in take_back(one, places, ledger).failures]
        notes = [f"not undone: {step.where.name}: {problem.what}" for step, problem in problems]
        if problems:
            notes.append("'cnilab fault clear' tries that again")
        if isinstance(error, ExpressionError):
            msg = "a command of the fault needs a value that is not there"
            raise CnilabError(msg, cause=str(error), notes=notes) from error
        if isinstance(error, CnilabError):
            error.notes += notes
        raise


def _refuse_known(ledger: Ledger, faults: Iterable[Fault]) -> None:
    there = {one.fault for one in ledger.items}
    for fault in faults:
        if fault.id in there:
            msg = f"{fault.id} {fault.name} is injected already"
            raise UsageError(msg, next_step=f"'cnilab fault clear {fault.id}' undoes it")


def _at_random(context: Context, ledger: Ledger, seed: int) -> Fault:
    there = {one.fault for one in ledger.items}
    able = [fault for fault in catalogue.faults() if fault.id not in there and not missing(fault, context)]
    if not able:
        msg = "no other fault can be shown on this cluster"
        raise UsageError(msg, next_step="'cnilab fault list' shows what it lacks for each")
    return random.Random(seed).choice(able)  # noqa: S311 - a choice that can be made again, and no secret of a key


def lacks(needs: Iterable[str]) -> str:
    """What a cluster lacks, in words: `three (the cluster has three nodes or more)`."""
    meanings = {**GATES, **{name: one.meaning for name, one in SITUATIONS.items()}}
    return ", ".join(f"{one} ({meanings[one]})" if one in meanings else one for one in needs)


def _refuse_unable(faults: Iterable[Fault], context: Context) -> None:
    for fault in faults:
        if needs := missing(fault, context):
            msg = f"{fault.id} {fault.name} would change nothing on this cluster"
            step = "'cnilab fault list' shows the faults that it can show"
            raise UsageError(msg, cause=f"the cluster lacks: {lacks(needs)}", next_step=step)


def _refuse_unknown_values(faults: Iterable[Fault], scenes: Mapping[Family, Scene]) -> None:
    """A link without a name has no state, and that is fine; all else must be known before the first command."""
    for fault in faults:
        used = {name for path, text, kept in texts(fault) if path[0] != "state" for name in names(text) - kept}
        if absent := sorted(used - set(scenes[fault.family].values)):
            msg = f"{fault.id} {fault.name} cannot be injected on this cluster as it is now"
            step = "docs/faults.md says what the names stand for; another injected fault may have taken it away"
            raise UsageError(msg, cause=f"the cluster has no {', '.join(absent)}", next_step=step)


def _concerned(faults: Iterable[Fault]) -> list[str]:
    """Ids of the checks that must notice."""
    return list(dict.fromkeys(split_target(text)[0] for fault in faults for text in fault.kills))


def _beside(faults: Iterable[Fault]) -> list[Batch]:
    asked = set(batches([CHECKS[name] for name in _concerned(faults)]))
    return [batch for batch in BESIDE if batch in asked]


def clear_faults(
    attached: Attached, only: Sequence[Fault], journal: Journal, *, forget: bool = False
) -> list[TakenBack]:
    """Undo what is injected, last injected first.

    Args:
        attached: The cluster.
        only: Which; none for all. Those that are not injected count as cleared.
        journal: Gets a step for each.
        forget: Do not keep what could not be undone.

    Raises:
        UsageError: Another fault has its rules in the same table.
    """
    with injection.held(place_of(attached)):
        ledger, places = Ledger(place_of(attached)), Places(attached)
        ids = {fault.id for fault in only}
        chosen = [one for one in ledger.items if not ids or one.fault in ids]
        _refuse_shared(chosen, [one for one in ledger.items if one not in chosen])
        outcomes = []
        for item in reversed(chosen):
            with journal.step("fault.clear", f"clear {item.fault} {item.name}"):
                outcomes.append(take_back(item, places, ledger))
        if forget:
            for left in [one for one in ledger.items if one.fault in {item.fault for item in chosen}]:
                ledger.drop(left)
        return outcomes


def _refuse_shared(chosen: Collection[Injection], others: Collection[Injection]) -> None:
    """With a table go all rules in it."""
    mine = {step for one in chosen for step in _tables(one)}
    sharing = [one for one in others if mine & set(_tables(one))]
    if sharing:
        hidden = any(one.secret for one in sharing)
        all_of_them = "" if hidden else " ".join(one.fault for one in (*chosen, *sharing))
        msg = "another fault has its rules in the same table as these"
        step = f"clear them together: cnilab fault clear {all_of_them}".rstrip()
        raise UsageError(msg, cause=injection.phrase(sharing), next_step=step)


def _tables(item: Injection) -> list[Step]:
    return [step for step in item.undo if step.part == "table"]
