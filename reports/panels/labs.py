"""Labs with their steps: what was typed, what came back, what should have been seen, and what people often believe."""

from __future__ import annotations

from collections import Counter

from harness.model.records import LabStep
from reports import marks
from reports.model import LabCard, Mark, StepRow
from reports.panels.requirements import evidence_item
from reports.text import Ids, plural, shorten

_OUTPUT = 4000
_EVIDENCE = 3
_EVIDENCE_TEXT = 1500


def labs(steps: list[LabStep], ids: Ids) -> tuple[LabCard, ...]:
    """One card per lab, in the order in which labs ran.

    Args:
        steps: All of the run.
        ids: Gives `lab-flannel-routes` and `step-flannel-routes-1`.
    """
    by_lab: dict[str, list[LabStep]] = {}
    for step in steps:
        by_lab.setdefault(step.lab, []).append(step)
    return tuple(_card(lab, found, ids) for lab, found in by_lab.items())


def _card(lab: str, steps: list[LabStep], ids: Ids) -> LabCard:
    status = _status(steps)
    counts: Counter[str] = Counter(step.status for step in steps)
    words = {
        "pass": "as expected",
        "record": "recorded",
        "fail": "not as expected",
        "error": "broken",
        "skip": "skipped",
    }
    summary = ", ".join(f"{counts[key]} {word}" for key, word in words.items() if counts[key])
    return LabCard(
        anchor=ids.new("lab", lab),
        id=lab,
        mark=marks.of_status(status),
        status=status,
        summary=f"{plural(len(steps), 'step')}: {summary}",
        steps=tuple(_step(step, ids) for step in steps),
        claims=sum(bool(step.claim) for step in steps),
        seconds=sum(step.seconds for step in steps),
    )


def _status(steps: list[LabStep]) -> str:
    """A lab is as good as its worst step; skipped only when every step was."""
    found = {step.status for step in steps}
    for status in ("error", "fail"):
        if status in found:
            return status
    return "skip" if found == {"skip"} else "pass"


def _step(step: LabStep, ids: Ids) -> StepRow:
    mark: Mark = marks.of_status(step.status)
    return StepRow(
        anchor=ids.new("step", step.lab, step.step),
        id=step.step,
        title=step.title,
        place=step.place,
        prompt="#" if step.place.split(" ")[0] in ("node", "router", "far") else "$",
        command=step.command,
        output=shorten(step.output.rstrip("\n"), _OUTPUT),
        mark=mark,
        exit_status=step.exit_status,
        expectation=step.expectation,
        observed=step.observed,
        reason=step.reason,
        claim=step.claim,
        seconds=step.seconds,
        evidence=tuple(evidence_item(item, _EVIDENCE_TEXT) for item in step.evidence[:_EVIDENCE]),
    )
