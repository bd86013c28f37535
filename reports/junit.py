"""Verdicts as JUnit XML, the form that every CI reads. It also says whether the cluster failed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from xml.etree import ElementTree as ET

from reports.model import CauseCard, LabCard, Report, Requirement
from reports.text import shorten

_TEXT: Final = 8000
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 §2.2 does not allow, not even escaped."""


def render(report: Report) -> str:
    """One test suite per area, one for labs, and one for the cluster itself.

    Args:
        report: From `reports.build.build`.
    """
    root = ET.Element("testsuites", name="cnilab")
    causes = {card.number: card for card in report.causes.cards} if report.causes is not None else {}
    if report.requirements is not None:
        for area in report.requirements.areas:
            suite = _suite(root, area.name, report)
            for item in area.requirements:
                _requirement(suite, item, causes)
    if report.labs:
        suite = _suite(root, "Labs", report)
        for lab in report.labs:
            _lab(suite, lab)
    suite = _suite(root, "Cluster", report)
    case = ET.SubElement(
        suite, "testcase", classname="cnilab.lab", name="the cluster came up and stayed up", time="0.000"
    )
    if report.trouble is not None:
        text = "\n".join(
            part for part in (report.trouble.cause, report.trouble.where, report.trouble.next_step) if part
        )
        _child(case, "error", report.trouble.what, text)
    _count(root)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(root: ET.Element, name: str, report: Report) -> ET.Element:
    suite = ET.SubElement(root, "testsuite", name=_clean(name), timestamp=report.verdict.started[:19])
    properties = ET.SubElement(suite, "properties")
    facts = {"run": report.verdict.run_id, "subject": report.verdict.subject, "reproduce": report.verdict.reproduce}
    facts |= {f"pin.{pin.name}": pin.version for pin in report.environment.pins}
    for key, value in facts.items():
        ET.SubElement(properties, "property", name=_clean(key), value=_clean(value))
    return suite


def _requirement(suite: ET.Element, item: Requirement, causes: Mapping[int, CauseCard]) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=f"cnilab.{_clean(item.id.partition('.')[0])}", name=_clean(item.id),
        time=f"{item.wall_ms / 1000:.3f}",
    )  # fmt: skip
    bad = [leg for leg in item.legs if leg.mark.tone in ("bad", "warn", "lab")]
    lines = [line for one in item.because for line in _orders(causes[one.number])]
    lines += [f"{leg.leg}: {leg.statement} (expected {leg.expected}, observed {leg.observed})" for leg in bad]
    lines += [item.by_family] if item.by_family else []
    lines += [f"next: {line}" for line in item.next]
    match item.status:
        case "fail" if item.level == "MUST":
            _child(case, "failure", item.told, "\n".join(lines), kind=item.reason)
        case "fail":
            _child(case, "skipped", f"recommendation not met: {item.told}", "")
        case "error":
            _child(case, "error", item.told, "\n".join(lines), kind=item.reason)
        case "skip" | "not-applicable":
            _child(case, "skipped", f"{item.status}: {item.statement}", "")
        case _ if item.flaky or item.by_family:
            said = ("passed only after a retry" if item.flaky else "", item.by_family)
            ET.SubElement(case, "system-out").text = _clean("; ".join(filter(None, said)))
        case _:
            pass


def _orders(card: CauseCard) -> Iterator[str]:
    """What shows and what mends a cause, a line each."""
    for name, order in (("see", card.look), ("mend", card.mend)):
        if order is not None:
            yield f"cause {card.number}, {name}{order.where}: {order.text}"


def _lab(suite: ET.Element, lab: LabCard) -> None:
    for step in lab.steps:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=f"cnilab.labs.{_clean(lab.id)}",
            name=_clean(step.id),
            time=f"{step.seconds:.3f}",
        )
        checks = [f"{row.mark.word}: {row.expectation} {row.reason}\n  observed: {row.observed}" for row in step.checks]
        text = "\n".join([f"{step.prompt} {step.command}", step.output, *checks])
        if step.mark.tone == "bad":
            _child(case, "failure", step.title, text)
        elif step.mark.tone == "lab":
            _child(case, "error", step.title, text)
        elif step.mark.word == "skipped":
            _child(case, "skipped", lab.reason, "")


def _child(case: ET.Element, tag: str, message: str, text: str, *, kind: str = "") -> None:
    child = ET.SubElement(case, tag, message=_clean(shorten(message, _TEXT)))
    if kind:
        child.set("type", _clean(kind))
    if text:
        child.text = _clean(shorten(text, _TEXT))


def _count(root: ET.Element) -> None:
    """Fill in the totals that readers of JUnit expect on suites and on the whole."""
    totals = dict.fromkeys(("tests", "failures", "errors"), 0)  # the schema has no skipped on the whole
    seconds = 0.0
    for suite in root.findall("testsuite"):
        cases = suite.findall("testcase")
        counts = {
            "tests": len(cases),
            "failures": sum(case.find("failure") is not None for case in cases),
            "errors": sum(case.find("error") is not None for case in cases),
            "skipped": sum(case.find("skipped") is not None for case in cases),
        }
        took = sum(float(case.get("time", "0")) for case in cases)
        for key, count in counts.items():
            suite.set(key, str(count))
        for key in totals:
            totals[key] += counts[key]
        suite.set("time", f"{took:.3f}")
        seconds += took
    for key, count in totals.items():
        root.set(key, str(count))
    root.set("time", f"{seconds:.3f}")


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
