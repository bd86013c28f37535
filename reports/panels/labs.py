"""Labs with their steps: what was typed, what came back, what should have been seen, and what people often believe."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, Final

from harness.model.records import Event, Evidence, LabStep
from reports import marks
from reports.model import CheckRow, Claim, LabCard, Plot, Series, StepRow
from reports.panels.requirements import evidence_item
from reports.text import Ids, plural, shorten

_OUTPUT_CALM: Final = 1600
_OUTPUT_BAD: Final = 4000
_EVIDENCE: Final = 4
_EVIDENCE_TEXT: Final = 1500
_OBSERVED: Final = 600
_WORDS: Final = {
    "pass": "as expected",
    "record": "recorded",
    "fail": "not as expected",
    "error": "broken",
    "skip": "skipped",
}
_CLAIM = re.compile(r"^(?P<said>.*?)\s*\((?P<truth>[^()]*(?:\([^()]*\)[^()]*)*)\)\s*$", re.DOTALL)
_ROOT: Final = ("node", "router", "far", "fabric", "pod", "netns")

Records = list[LabStep]


def labs(records: list[LabStep], events: list[Event], ids: Ids) -> tuple[LabCard, ...]:
    """One card per lab, in the order in which labs ended.

    Args:
        records: All of the run: one per expectation, those of a step one after the other.
        events: Of the run; they know the labs' titles.
        ids: Gives `lab-flannel-routes` and `step-flannel-routes-own-route`.
    """
    titles = {event.step.partition(".")[2]: event.title for event in events if event.step.startswith("labs.")}
    by_lab: dict[str, list[LabStep]] = {}
    for record in records:
        by_lab.setdefault(record.lab, []).append(record)
    return tuple(_card(lab, titles.get(lab, ""), _last_run(_steps(found)), ids) for lab, found in by_lab.items())


def _steps(records: list[LabStep]) -> list[Records]:
    """Neighbouring records of one step belong together."""
    steps: list[Records] = []
    for record in records:
        if steps and steps[-1][0].step == record.step and not record.command:
            steps[-1].append(record)
        else:
            steps.append([record])
    return steps


def _last_run(steps: list[Records]) -> list[Records]:
    """A lab that ran again starts with its first step again: only the last run counts."""
    starts = [index for index, records in enumerate(steps) if records[0].step == steps[0][0].step]
    return steps[starts[-1] :]


def _card(lab: str, title: str, steps: list[Records], ids: Ids) -> LabCard:
    records = [record for step in steps for record in step]
    status = _status(records)
    counts: Counter[str] = Counter(record.status for record in records)
    parts = [f"{counts[key]} {word}" for key, word in _WORDS.items() if counts[key]]
    return LabCard(
        anchor=ids.new("lab", lab),
        id=lab,
        title=title or (steps[0][0].title if steps[0][0].step in ("needs", "lab") else ""),
        mark=marks.of_status(status),
        status=status,
        summary=f"{plural(len(steps), 'step')}: {', '.join(parts)}",
        reason=next((record.reason for record in records if record.status == "skip"), "") if status == "skip" else "",
        steps=tuple(_step(step, ids) for step in steps),
        claims=sum(bool(record.claim) for record in records),
        seconds=sum(record.seconds for record in records),
    )


def _status(records: list[LabStep]) -> str:
    """A lab, like a step, is as good as the worst of its records; skipped only when all were."""
    found = {record.status for record in records}
    for status in ("error", "fail"):
        if status in found:
            return status
    return next(iter(found)) if found in ({"skip"}, {"record"}) else "pass"


def _step(records: Records, ids: Ids) -> StepRow:
    first = records[0]
    status = _status(records)
    output = _readable(first.output)
    return StepRow(
        anchor=ids.new("step", first.lab, first.step),
        id=first.step,
        title=first.title,
        place=first.place,
        prompt="#" if first.place.split(" ", maxsplit=1)[0] in _ROOT else "$",
        command=first.command,
        output=shorten(output, _OUTPUT_BAD if status in ("fail", "error") else _OUTPUT_CALM),
        lines=output.count("\n") + 1 if output else 0,
        mark=marks.of_status(status),
        exit_status=first.exit_status,
        checks=tuple(map(_check, (record for record in records if record.expectation or record.reason))),
        claims=tuple(dict.fromkeys(_claim(record) for record in records if record.claim)),
        seconds=sum(record.seconds for record in records),
        transcript=_transcript(first.evidence),
        evidence=tuple(evidence_item(item, _EVIDENCE_TEXT) for item in _worth_showing(first.evidence)[:_EVIDENCE]),
        plots=tuple(_plot(item.detail) for item in first.evidence if _is_plot(item)),
    )


def _check(record: LabStep) -> CheckRow:
    # Only contradictions are spelled out, so a condition of several parts that holds has nothing to say but this.
    silent = record.status == "pass" and record.observed.endswith("not true")
    return CheckRow(
        mark=marks.of_status(record.status),
        expectation=record.expectation,
        observed="" if silent else shorten(record.observed, _OBSERVED),
        reason=record.reason,
    )


def _claim(record: LabStep) -> Claim:
    """`X does Y. (It does Z.)` is what is said, and what is true; without brackets the expectation is."""
    parts = _CLAIM.match(record.claim)
    return Claim(parts["said"], parts["truth"]) if parts else Claim(record.claim, record.expectation)


def _transcript(evidence: tuple[Evidence, ...]) -> str:
    paths = (item.detail.get("transcript") for item in evidence if item.kind == "log")
    return next((path for path in paths if isinstance(path, str)), "")


def _worth_showing(evidence: tuple[Evidence, ...]) -> list[Evidence]:
    """Tables and captures; the transcript has a link of its own, and plots are drawn."""
    return [item for item in evidence if "transcript" not in item.detail and not _is_plot(item)]


def _is_plot(item: Evidence) -> bool:
    """With two samples at least: one makes no line, and its evidence then says why."""
    at = item.detail.get("at")
    return "plot" in item.detail and isinstance(at, list) and len(at) > 1


def _plot(detail: dict[str, Any]) -> Plot:
    return Plot(
        title=str(detail["plot"]),
        unit=str(detail.get("unit", "")),
        at=tuple(map(float, detail["at"])),
        series=tuple(Series(name, tuple(map(float, values))) for name, values in detail["series"].items()),
    )


def _readable(output: str) -> str:
    """Output with JSON that came on one line spread over several, and without the marks of success."""
    lines = [_spread(line) for line in output.rstrip().split("\n") if line != "[exit 0]"]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _spread(line: str) -> str:
    """`[{…},{…}]` with one object per line."""
    if not line.startswith("[") or not line.endswith("]") or len(line) < 80:
        return line
    try:
        items = json.loads(line)
    except ValueError:
        return line
    return "[\n" + ",\n".join(f"  {json.dumps(item, ensure_ascii=False)}" for item in items) + "\n]"
