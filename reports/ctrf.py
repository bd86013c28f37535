"""Verdicts in the Common Test Report Format (ctrf.io), for tools that read it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

from reports.model import LabCard, Report, Requirement
from reports.panels.verdict import moment

_STATUS: Final = {"pass": "passed", "fail": "failed", "skip": "skipped", "not-applicable": "skipped", "error": "other"}

_KEYS: Final = {"cluster": "lab"}
"""Fact to its key, where the key has the older word."""


def render(report: Report) -> str:
    """A CTRF document.

    Args:
        report: From `reports.build.build`.
    """
    areas = report.requirements.areas if report.requirements is not None else ()
    tests = [_requirement(item, area.name) for area in areas for item in area.requirements]
    tests += [_lab(lab) for lab in report.labs]
    counts = Counter(test["status"] for test in tests)
    begun = moment(report.verdict.started)
    start = round(begun.timestamp() * 1000) if begun else 0
    document = {
        "reportFormat": "CTRF",
        "specVersion": "0.0.0",
        "generatedBy": "cnilab",
        "results": {
            "tool": {"name": "cnilab"},
            "summary": {
                "tests": len(tests),
                **{name: counts[name] for name in ("passed", "failed", "skipped", "pending", "other")},
                "suites": len(areas) + bool(report.labs),
                "start": start,
                "stop": start + round((report.verdict.seconds or 0) * 1000),
            },
            "tests": tests,
            **_causes(report),
            "environment": {
                "reportName": report.title,
                "extra": {_KEYS.get(fact.name, fact.name): fact.value for fact in report.environment.facts},
            },
        },
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _causes(report: Report) -> dict[str, Any]:
    """The causes, as the requirements' `causes` count them; nothing where there are none."""
    return {"extra": {"causes": [card.data for card in report.causes.cards]}} if report.causes is not None else {}


def _requirement(item: Requirement, area: str) -> dict[str, Any]:
    # A recommendation that is not met must not turn a pipeline red.
    advice = item.status == "fail" and item.level != "MUST"
    test: dict[str, Any] = {
        "name": item.id,
        "status": "other" if advice else _STATUS[item.status],
        "rawStatus": item.status,
        "duration": round(item.wall_ms),
        "suite": [area],
        "message": item.told,
        "flaky": item.flaky,
        "tags": [item.level],
    }
    extra: dict[str, Any] = {"next": list(item.next)} if item.next else {}
    if len(item.families) > 1:
        extra["families"] = {family: mark.word for family, mark in item.families}
    if item.because:
        extra["causes"] = [one.number for one in item.because]
    if extra:
        test["extra"] = extra
    return test


def _lab(lab: LabCard) -> dict[str, Any]:
    return {
        "name": lab.id,
        "status": _STATUS[lab.status],
        "duration": round(lab.seconds * 1000),
        "suite": ["labs"],
        "message": lab.summary,
    }
