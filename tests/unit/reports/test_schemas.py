"""JUnit XML and CTRF are what their schemas say; where the schemas come from is in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import xmlschema

from harness.model.records import Leg, Result
from harness.model.run import RunDir
from reports import ctrf, junit
from reports.build import build
from tests.unit.reports import sample

SCHEMAS: Final = Path(__file__).parent / "schemas"
JUNIT: Final = xmlschema.XMLSchema(str(SCHEMAS / "junit-10.xsd"))
CTRF: Final = jsonschema.Draft7Validator(json.loads((SCHEMAS / "ctrf-0.0.json").read_text()))

LEVELS: Final[tuple[Literal["M", "S"], ...]] = ("M", "S")
STATUSES: Final[tuple[Literal["pass", "fail", "skip", "not-applicable", "error"], ...]] = (
    "pass", "fail", "skip", "not-applicable", "error",
)  # fmt: skip


def _full(path: Path) -> RunDir:
    return sample.write(path)


def _partial(path: Path) -> RunDir:
    return sample.write_partial(path)


def _hostile(path: Path) -> RunDir:
    return sample.write(path, sample.Sample(names=(sample.HOSTILE, "b|c", "\x07", "]]>")))


def _nothing(path: Path) -> RunDir:
    run = RunDir(path)
    run.write_info(sample.info(sample.Sample()))
    return run


def _every_verdict(path: Path) -> RunDir:
    run = _nothing(path)
    leg = Leg(leg="a>c", status="fail", statement="bell \x07 and <b>")
    run.add_results(
        Result(id=f"{level.lower()}.{status}", title="X", level=level, status=status, statement="X", legs=(leg,))
        for level in LEVELS
        for status in STATUSES
    )
    return run


RUNS: Final = {
    "full": _full, "partial": _partial, "explained": sample.write_explained, "hostile": _hostile, "nothing": _nothing,
    "every verdict": _every_verdict,
}  # fmt: skip
runs = pytest.mark.parametrize("write", RUNS.values(), ids=RUNS)


@runs
def test_junit_xml_is_what_its_schema_says(write: Callable[[Path], RunDir], tmp_path: Path) -> None:
    text = junit.render(build(write(tmp_path / "run")))
    assert [f"{error.path}: {error.reason}" for error in JUNIT.iter_errors(text)] == []


@runs
def test_ctrf_is_what_its_schema_says(write: Callable[[Path], RunDir], tmp_path: Path) -> None:
    document = json.loads(ctrf.render(build(write(tmp_path / "run"))))
    assert [f"{error.json_path}: {error.message}" for error in CTRF.iter_errors(document)] == []


def test_every_verdict_is_among_them(tmp_path: Path) -> None:
    report = build(_every_verdict(tmp_path / "run"))
    kinds = {child.tag for case in ET.fromstring(junit.render(report)).iter("testcase") for child in case}  # noqa: S314 - our own output
    assert kinds == {"failure", "error", "skipped"}
    tests = json.loads(ctrf.render(report))["results"]["tests"]
    assert {test["status"] for test in tests} == {"passed", "failed", "skipped", "other"}


def _case_without_name(root: ET.Element) -> None:
    case = root.find(".//testcase")
    assert case is not None
    del case.attrib["name"]


def _unknown_attribute(root: ET.Element) -> None:
    root.set("skipped", "1")


def _time_in_words(root: ET.Element) -> None:
    root.set("time", "a second")


@pytest.mark.parametrize("spoil", [_case_without_name, _unknown_attribute, _time_in_words])
def test_the_schema_of_junit_refuses_what_is_wrong(spoil: Callable[[ET.Element], None], tmp_path: Path) -> None:
    root = ET.fromstring(junit.render(build(_full(tmp_path / "run"))))  # noqa: S314 - our own output
    spoil(root)
    assert not JUNIT.is_valid(ET.tostring(root, encoding="unicode"))


@pytest.mark.parametrize(
    ("key", "value"), [("status", "broken"), ("suite", "labs"), ("duration", "1 s"), ("colour", "red")]
)
def test_the_schema_of_ctrf_refuses_what_is_wrong(key: str, value: str, tmp_path: Path) -> None:
    document: dict[str, Any] = json.loads(ctrf.render(build(_full(tmp_path / "run"))))
    document["results"]["tests"][0][key] = value
    assert not CTRF.is_valid(document)
