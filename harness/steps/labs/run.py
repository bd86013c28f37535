"""One lab, from its first step to its last: commands, captures, faults, expectations, records.

Whatever happens, every fault that was injected is repaired before `LabRun.run` returns.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import timeouts
from harness.errors import CnilabError
from harness.model.expression import ExpressionError, evaluate, render
from harness.model.lab import LabDefinition, Step
from harness.model.records import Evidence, LabStep
from harness.model.records import Tap as TapRecord
from harness.model.spot import Spot
from harness.model.words import fill
from harness.runner import CommandError, Completed
from harness.steps.labs import judge
from harness.steps.labs.damage import Damage, StepError
from harness.steps.labs.judge import Outcome
from harness.steps.labs.place import Surroundings, TapWanted

HUNG = 124
"""Exit status, as timeout(1) has it, of a program that did not end, or could not be started."""

PARALLEL_PLACES = 4
"""Commands of one step that run at the same time."""

Keep = Callable[[LabStep], None]


@dataclass
class _State:
    """What a lab knows while it runs."""

    saved: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    captured: dict[str, Any] = field(default_factory=dict)
    stopped: str = ""


class LabRun:
    """Runs one lab.

    Args:
        definition: The lab.
        around: The cluster.
        folder: Where transcripts and captures go; made on demand.
        base: The run directory, for paths in records.
        keep: Called with every record as soon as it is there.
        stop: Once set, no further step begins; faults are still repaired.
    """

    def __init__(
        self,
        definition: LabDefinition,
        around: Surroundings,
        folder: Path,
        base: Path,
        keep: Keep,
        stop: threading.Event | None = None,
    ) -> None:
        self.lab = definition
        self.around = around
        self.folder = folder
        self.base = base
        self.keep = keep
        self.stop = stop or threading.Event()
        self.damage = Damage(definition, around)

    def run(self) -> list[LabStep]:
        """Run all steps.

        Returns:
            The records, also given to `keep` one by one.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        state = _State()
        records: list[LabStep] = []

        def keep(new: Iterable[LabStep]) -> None:
            for record in new:
                records.append(record)
                self.keep(record)

        stopped = ""
        try:
            state.facts = self.around.facts(self.lab.namespace)
            for number, step in enumerate(self.lab.steps, start=1):
                stopped = stopped or state.stopped or ("interrupted" if self.stop.is_set() else "")
                if stopped:
                    # What always runs cleans up, and was written for a cluster that is repaired.
                    keep(self.damage.repair_all(self._context(state)))
                if stopped and not step.always:
                    keep([judge.bare(self.lab.id, step, "skip", reason=stopped)])
                    continue
                start = time.monotonic()
                try:
                    if step.when and not evaluate(step.when, self._context(state)):
                        keep([judge.bare(self.lab.id, step, "skip", reason=f"only when {step.when}")])
                        continue
                    keep(self._step(number, step, state))
                except (CnilabError, ExpressionError) as error:
                    # An expression that cannot be computed misses something that a healthy cluster has.
                    status: judge.Status = "fail" if isinstance(error, StepError | ExpressionError) else "error"
                    keep([judge.bare(self.lab.id, step, status, str(error), time.monotonic() - start)])
                    state.stopped = f"step '{step.id}' did not succeed"
        finally:
            keep(self.damage.repair_all(self._context(state)))
            if stopped or state.stopped:
                # The step that tells of new pods may be one that did not run; the next lab is not to pay for it.
                self.around.refresh()
        return records

    # -- one step ------------------------------------------------------------------------------------------------

    def _context(self, state: _State) -> dict[str, Any]:
        own = {"saved": state.saved, "captured": state.captured, "param": self.lab.parameters, "lab": self.lab.id}
        return {**state.facts, **own}

    def _step(self, number: int, step: Step, state: _State) -> list[LabStep]:
        start = time.monotonic()
        context = self._context(state)
        outcomes: list[Outcome] = []
        if step.repair:
            outcomes += self.damage.repair(step.repair, context, step.repair_on)
        if step.inject:
            outcomes += self.damage.inject(step.inject, context)
        wanted = [
            TapWanted(
                tap.name,
                render(tap.on, context),
                render(tap.interface, context),
                tuple(render(word, context) for word in tap.filter),
            )
            for tap in step.capture
        ]
        none: dict[str, TapRecord] = {}
        stem = f"{self.lab.id}-{step.id}"
        with self.around.taps(wanted, self.lab.namespace, stem) if wanted else nullcontext(none) as taps:
            ran = self._commands(step, context) if step.run else []
        if step.refresh:
            self.around.refresh()
            state.facts = self.around.facts(self.lab.namespace)
            context = self._context(state)
        packets = {name: [packet.model_dump(mode="json") for packet in tap.packets] for name, tap in taps.items()}
        state.captured |= {
            name: {"path": str(self.base / tap.pcap), "packets": packets[name]} for name, tap in taps.items()
        }
        failed = [one for one in ran if one.problem]
        if failed:
            state.stopped = f"step '{step.id}' did not succeed"
            ran = [*failed, *(one for one in ran if not one.problem)]
            verdict = judge.broken(self.lab.id, step, failed)
        else:
            verdict = judge.judge(self.lab.id, step, ran, {**context, "taps": packets}, len(outcomes))
        if step.save:
            state.saved[step.save] = verdict.value
        evidence = [*self._transcript(number, step, [*outcomes, *ran]), *self._pcaps(taps), *verdict.evidence]
        return judge.finish(verdict, [*outcomes, *ran], evidence, time.monotonic() - start)

    def _commands(self, step: Step, context: Mapping[str, Any]) -> list[Outcome]:
        """Run the step's command in each of its places, for each of its items."""
        spots = self.around.spots(render(step.on, context), self.lab.namespace, step.container)
        jobs: list[tuple[Spot, Any, dict[str, Any]]] = []
        for spot in spots:
            here = {**context, **spot.facts}
            items = evaluate(step.for_, here) if step.for_ else [None]
            jobs += [(spot, item, {**here, "item": item}) for item in items]
        if not jobs:
            msg = f"step '{step.id}' has nowhere to run"
            raise StepError(msg, where=f"lab {self.lab.id}", cause=f"no place for '{step.on}'")
        if len(jobs) == 1:
            return [self._command(step, *jobs[0])]
        with ThreadPoolExecutor(PARALLEL_PLACES) as pool:
            return list(pool.map(lambda job: self._command(step, *job), jobs))

    def _command(self, step: Step, spot: Spot, item: Any, context: dict[str, Any]) -> Outcome:
        """Run the command once, or until `retryUntil` holds."""
        argv = fill(step.run, context)
        text = render(step.input, context)

        def once() -> Outcome:
            start = time.monotonic()
            try:
                done = spot.runner.run(argv, input=text or None, timeout=step.deadline, check=False)
            except CommandError as error:
                done = Completed(argv, HUNG, "", str(error))
            return judge.outcome(step, spot, item, argv, done, time.monotonic() - start, context)

        outcome = once()
        if step.retry_until:
            # Starting kubectl costs a sixth of a second of CPU, so it is asked less often.
            interval, longest = (0.3, 1.0) if spot.name == "operator" else (0.05, 0.5)
            for _ in timeouts.ticks(step.deadline, interval=interval, longest=longest):
                if self._holds(step.retry_until, outcome):
                    break
                outcome = once()
            else:
                return replace(
                    outcome, problem=f"waited {step.deadline:.0f} s, but this did not become true: {step.retry_until}"
                )
        if outcome.returncode != 0 and not step.may_fail:
            return replace(outcome, problem=f"{argv[0]} failed with exit status {outcome.returncode}")
        return outcome

    @staticmethod
    def _holds(source: str, outcome: Outcome) -> bool:
        """True when the expression is; something missing is not there yet."""
        try:
            return bool(evaluate(source, outcome.context))
        except ExpressionError:
            return False

    # -- evidence ------------------------------------------------------------------------------------------------

    def _transcript(self, number: int, step: Step, outcomes: list[Outcome]) -> list[Evidence]:
        if not outcomes:
            return []
        path = self.folder / f"{number:02}-{step.id}.txt"
        path.write_text("".join(outcome.transcript() for outcome in outcomes), encoding="utf-8")
        commands = sorted({shlex.join(outcome.argv) for outcome in outcomes})
        detail = {"transcript": str(path.relative_to(self.base)), "commands": commands[:8], "runs": len(outcomes)}
        return [Evidence(kind="log", detail=detail)]

    def _pcaps(self, taps: Mapping[str, TapRecord]) -> list[Evidence]:
        return [Evidence(kind="pcap", detail=judge.tap_detail(name, tap)) for name, tap in taps.items()]
