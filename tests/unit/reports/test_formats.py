from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.errors import ReportError
from harness.model.records import Leg, Result
from harness.model.run import RunDir
from harness.steps.lifecycle.report import WRITERS, write_reports
from harness.yamlio import loads
from reports import conformance_yaml, ctrf, escape, junit, markdown
from reports.build import build
from reports.drawings.topology import topology
from reports.model import Report
from tests.unit.reports import sample


def _svg(report: Report) -> str:
    assert report.diagram is not None
    return f"{topology(report.diagram)}\n"


@pytest.mark.parametrize(
    ("name", "render"),
    [
        ("junit.xml", junit.render),
        ("summary.md", markdown.render),
        ("ctrf.json", ctrf.render),
        ("conformance-report.yaml", conformance_yaml.render),
        ("topology.svg", _svg),
    ],
)
def test_output_is_as_reviewed(
    full: RunDir, name: str, render: Callable[[Report], str], golden: Callable[[str, str], None]
) -> None:
    golden(f"reports/{name}", render(build(full)))


@pytest.mark.parametrize(
    ("name", "render"),
    [
        ("junit.xml", junit.render),
        ("summary.md", markdown.render),
        ("ctrf.json", ctrf.render),
        ("conformance-report.yaml", conformance_yaml.render),
    ],
)
def test_output_with_causes_is_as_reviewed(
    explained: RunDir, name: str, render: Callable[[Report], str], golden: Callable[[str, str], None]
) -> None:
    golden(f"reports/explained/{name}", render(build(explained)))


def test_junit_counts_agree_with_its_cases(full: RunDir) -> None:
    root = ET.fromstring(junit.render(build(full)))  # noqa: S314 - our own output
    assert root.tag == "testsuites"
    for suite in root:
        assert suite.get("tests") == str(len(suite.findall("testcase")))
    assert root.get("tests") == str(len(root.findall(".//testcase")))
    assert root.get("failures") == str(len(root.findall(".//failure")))
    assert root.get("errors") == "0"
    for case in root.iter("testcase"):
        assert case.get("name")
        assert case.get("classname")
        assert float(case.get("time", "")) >= 0


def test_junit_tells_a_failed_bring_up_as_an_error(partial: RunDir) -> None:
    root = ET.fromstring(junit.render(build(partial)))  # noqa: S314 - our own output
    error = root.find(".//error")
    assert error is not None
    assert "API server" in error.get("message", "")


def test_junit_survives_what_xml_forbids(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.write_info(sample.info(sample.Sample()))
    run.add_results([Result(id="model.x", title="X", level="M", status="fail", statement="bell \x07 and \ufffe <b>")])
    failure = ET.fromstring(junit.render(build(run))).find(".//failure")  # noqa: S314 - our own output
    assert failure is not None
    assert failure.get("message") == "bell � and � <b>"


def test_the_summary_stays_small_and_says_what_it_left_out(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.write_info(sample.info(sample.Sample()))
    leg = Leg(leg="a>c", status="fail", statement="words " * 200)
    run.add_results(
        Result(id=f"model.x{n}", title="X", level="M", status="fail", statement="words " * 100, legs=(leg,) * 10)
        for n in range(100)
    )
    text = markdown.render(build(run))
    assert len(text.encode()) <= escape.LIMIT
    assert text.endswith("_The rest is in the HTML report._\n")


def test_hostile_names_do_not_become_markup_in_the_summary(tmp_path: Path) -> None:
    run = sample.write(tmp_path / "run", sample.Sample(names=(sample.HOSTILE, "b|c", "``` x", "[a](b)")))
    text = markdown.render(build(run))
    outside = "".join(text.split("```")[::2])
    assert "<script>" not in outside
    assert text.count("```") % 2 == 0


def test_ctrf_counts_agree_with_its_tests(full: RunDir) -> None:
    results = json.loads(ctrf.render(build(full)))["results"]
    assert results["summary"]["tests"] == len(results["tests"])
    assert results["summary"]["failed"] == 2
    for status in ("passed", "failed", "skipped", "pending", "other"):
        assert results["summary"][status] == sum(test["status"] == status for test in results["tests"])


def test_the_conformance_report_names_what_failed(full: RunDir) -> None:
    document = loads(conformance_yaml.render(build(full)))
    assert document["kind"] == "ConformanceReport"
    failed = {area["name"]: area["failed"] for area in document["areas"] if area.get("failed")}
    assert failed["No NAT between pods"] == ["model.no-nat.cross-node"]


def test_all_files_are_written_into_the_run_directory(full: RunDir) -> None:
    assert [path.name for path in write_reports(full)] == list(WRITERS)
    assert all((full.path / name).stat().st_size for name in WRITERS)


def test_writing_twice_gives_the_same_bytes(full: RunDir) -> None:
    write_reports(full)
    before = {name: (full.path / name).read_bytes() for name in WRITERS}
    write_reports(full)
    assert before == {name: (full.path / name).read_bytes() for name in WRITERS}


def test_one_file_that_cannot_be_written_does_not_take_the_others(full: RunDir) -> None:
    (full.path / "junit.xml").mkdir()
    with pytest.raises(ReportError, match="could not write junit") as caught:
        write_reports(full)
    assert caught.value.exit_code == 13
    assert (full.path / "report.html").is_file()
    assert (full.path / "summary.md").is_file()
