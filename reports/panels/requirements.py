"""The requirement table: verdicts by area, what needs attention first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from harness.model.gaps import gaps
from harness.model.journal import TEST
from harness.model.records import Event, Evidence, Leg, Result
from harness.model.requirement import AREAS, LEVELS
from reports import marks
from reports.model import Area, Because, EvidenceItem, Fact, LegRow, Requirement, Requirements
from reports.text import Ids, clock, shorten, value

_LEGS_PASS, _LEGS_FAIL = 8, 60
_EVIDENCE_PASS, _EVIDENCE_FAIL = 2, 8
_TEXT_PASS, _TEXT_FAIL = 700, 2400
_FACT = 300
_TEXT_KEYS = ("excerpt", "output", "stdout", "text", "lines", "before", "after", "log", "decoded")
_ROWS = 40
_NO_CAUSES: Final[Mapping[str, tuple[Because, ...]]] = {}


def requirements(
    results: list[Result], ids: Ids, because: Mapping[str, tuple[Because, ...]] = _NO_CAUSES, since: str = ""
) -> Requirements | None:
    """All verdicts of a run; None when nothing was judged.

    Args:
        results: In the order of the catalogue.
        ids: Hands out anchors.
        because: For each requirement that is not met, its causes, as far as they are known.
        since: When the run's last test began: what was judged before is of an earlier one.
    """
    if not results:
        return None
    by_area: dict[str, list[Requirement]] = {}
    for result in results:
        by_area.setdefault(area_of(result), []).append(
            replace(_requirement(result, ids, because.get(result.id, ())), earlier=_earlier(result, since))
        )
    areas = tuple(
        Area(ids.new("area", key), key, area_name(key), tuple(by_area[key])) for key in sorted(by_area, key=area_order)
    )
    everything = [item for area in areas for item in area.requirements]
    rank = {"bad": 0, "lab": 1, "warn": 2}
    attention = sorted((item for item in everything if item.needs_attention), key=lambda item: rank[item.mark.tone])
    return Requirements(tuple(attention), areas)


def last_test(events: Iterable[Event]) -> str:
    """When the last test of a run began; empty where the run does not say."""
    return max((one.at for one in events if one.step == TEST and one.state == "started"), default="")


def _earlier(result: Result, since: str) -> str:
    return clock(result.at) if result.at and result.at < since else ""


def area_of(result: Result) -> str:
    """The area of a requirement; of a record of an older version the first word of its id."""
    return result.area or result.id.partition(".")[0]


def area_name(area: str) -> str:
    """What an area is about; its own name for one that is not of the catalogue."""
    return next((name for key, name in AREAS.items() if key == area), area)


def area_order(area: str) -> tuple[int, str]:
    """Sorts areas as the catalogue has them, others behind."""
    order: list[str] = [*AREAS]
    return (order.index(area) if area in order else len(order), area)


def _requirement(result: Result, ids: Ids, because: tuple[Because, ...]) -> Requirement:
    calm = result.status not in ("fail", "error")
    legs = sorted(result.legs, key=lambda leg: leg.status in ("pass", "record"))
    return Requirement(
        anchor=ids.new(f"req-{result.id}"),
        id=result.id,
        title=result.title[:1].upper() + result.title[1:],
        level=LEVELS[result.level],
        mark=marks.of_status(result.status, level=result.level, flaky=result.flaky),
        status=result.status,
        reason=result.reason,
        statement=result.statement,
        source=result.source,
        tested=result.tested,
        total=result.total,
        legs=tuple(_leg(leg, result.level) for leg in legs[: _LEGS_PASS if calm else _LEGS_FAIL]),
        controls=tuple(
            (marks.PASS if control.ok else marks.FAIL, Fact(control.kind, control.detail))
            for control in result.controls
        ),
        evidence=tuple(
            evidence_item(item, _TEXT_PASS if calm else _TEXT_FAIL)
            for item in result.evidence[: _EVIDENCE_PASS if calm else _EVIDENCE_FAIL]
        ),
        # Older runs kept commands with gaps for the reader to fill.
        next=() if result.status == "pass" else tuple(line for line in result.next if not gaps(line)),
        gates=tuple(gate if met else f"not {gate}" for gate, met in result.gates.items()),
        blocked_by=result.blocked_by,
        wall_ms=result.wall_ms,
        flaky=result.flaky,
        families=tuple(
            (family, marks.of_status(status, level=result.level)) for family, status in result.families.items()
        ),
        because=() if calm else because,
    )


def _leg(leg: Leg, level: str) -> LegRow:
    unit = f" {leg.unit}" if leg.unit and leg.unit not in ("ip", "cidr", "ttl", "count") else ""

    def shown(data: Any) -> str:
        text = shorten(value(data), _FACT)
        return f"{text}{unit}" if text else ""

    return LegRow(
        leg=leg.leg,
        mark=marks.of_status(leg.status, level=level),
        statement=leg.statement or leg.reason,
        expected=shown(leg.expected),
        observed=shown(leg.observed),
    )


def evidence_item(evidence: Evidence, limit: int) -> EvidenceItem:
    """Evidence as facts, a table, a file, and the one long text that a program printed.

    Args:
        evidence: As recorded.
        limit: Characters of the text.
    """
    detail = dict(evidence.detail)
    columns, rows = detail.pop("columns", ()), detail.pop("rows", ())
    title = value(detail.pop("table", ""))
    if "interface" in detail and "place" in detail:
        title = f"{value(detail.pop('place'))} {value(detail.pop('interface'))}"
        detail.pop("tap", None)
        detail.pop("node", None)
    path = detail.get("path")
    path = detail.pop("path") if isinstance(path, str) and _inside(path) else ""
    facts: list[Fact] = []
    texts: list[str] = []
    for key, data in detail.items():
        text = "\n".join(map(value, data)) if key in _TEXT_KEYS and isinstance(data, list) else value(data)
        if key in _TEXT_KEYS or "\n" in text:
            texts.append(f"{key}:\n{text}" if key in ("before", "after") else text)
        elif text:
            facts.append(Fact(key.replace("_", " "), shorten(text, _FACT)))
    return EvidenceItem(
        kind=evidence.kind,
        facts=tuple(facts),
        text=shorten("\n".join(texts), limit),
        title=title,
        columns=tuple(map(value, columns)),
        rows=tuple(tuple(shorten(value(cell), _FACT) for cell in row) for row in rows[:_ROWS]),
        path=path,
    )


def _inside(path: str) -> bool:
    """Is it a plain path below the run directory, fit for a relative link?"""
    return bool(path) and not path.startswith(("/", ".")) and ".." not in path.split("/") and ":" not in path
