"""A ConformanceReport that the developers of a network can commit, after the style of network-policy-api's."""

from __future__ import annotations

from typing import Any

from harness import yamlio
from harness.model.family import FAMILIES, Family
from reports.marks import ADVICE, ERROR, FAIL, PASS
from reports.model import Area, Report


def render(report: Report) -> str:
    """A YAML document with verdicts by area, and what did not hold by name.

    Args:
        report: From `reports.build.build`.
    """
    facts = {fact.name: fact.value for fact in report.environment.facts}
    areas = report.requirements.areas if report.requirements is not None else ()
    document: dict[str, Any] = {
        "apiVersion": "cnilab.dev/v1alpha1",
        "kind": "ConformanceReport",
        "metadata": {"name": report.verdict.run_id, "date": report.verdict.started},
        "implementation": {"variant": facts.get("variant", ""), "provider": facts.get("provider", "")},
        "kubernetes": facts.get("Kubernetes", ""),
        "components": {pin.name: pin.version for pin in report.environment.pins},
        "result": _result(report),
        **({"causes": [card.data for card in report.causes.cards]} if report.causes is not None else {}),
        "areas": [_area(area) for area in areas],
        "reproduce": report.verdict.reproduce,
    }
    return yamlio.dumps(document)


def _result(report: Report) -> str:
    if report.trouble is not None:
        return "lab-failed"
    return {"good": "success", "warn": "success", "bad": "failure"}.get(report.verdict.tone, "incomplete")


def _area(area: Area) -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for item in area.requirements:
        by_status.setdefault(item.status, []).append(item.id)
    entry: dict[str, Any] = {"name": area.name, "passed": len(by_status.get("pass", []))}
    for key, status in (
        ("failed", "fail"),
        ("withoutVerdict", "error"),
        ("skipped", "skip"),
        ("notApplicable", "not-applicable"),
    ):
        if status in by_status:
            entry[key] = by_status[status]
    families = {family: _family(area, family) for family in FAMILIES}
    return entry | ({"families": families} if any(len(item.families) > 1 for item in area.requirements) else {})


def _family(area: Area, family: Family) -> dict[str, Any]:
    """What requirements that are judged for each family say of one."""
    words: dict[str, list[str]] = {}
    for item in area.requirements:
        for own, mark in item.families:
            if own == family:
                words.setdefault(mark.word, []).append(item.id)
    entry: dict[str, Any] = {"passed": len(words.get(PASS.word, []))}
    failed = [*words.get(FAIL.word, []), *words.get(ADVICE.word, [])]
    entry |= {"failed": failed} if failed else {}
    return entry | ({"withoutVerdict": words[ERROR.word]} if ERROR.word in words else {})
