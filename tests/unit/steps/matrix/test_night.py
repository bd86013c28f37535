"""Writing the report of a night: links, history on disk, plans, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import ReportError, UsageError
from harness.model.run import RunDir
from harness.steps.matrix import plan as matrix
from harness.steps.matrix import run as matrix_run
from harness.steps.matrix.report import write_night
from tests.unit.reports import page, sample


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return sample.write(tmp_path / "runs" / "one").path


def test_pages_of_runs_are_made_and_linked_relative_to_the_night(run: Path, tmp_path: Path) -> None:
    written = write_night([run], tmp_path / "site" / "night")
    assert [path.name for path in written] == ["index.html", "summary.md", "parity.md", "history.jsonl"]
    assert (run / "report.html").is_file()
    links = page.read(written[0].read_text()).links
    assert "../../runs/one/report.html" in links
    assert "../../runs/one/report.html#req-mtu.mss" in links


def test_links_into_a_runs_page_have_targets_there(run: Path, tmp_path: Path) -> None:
    written = write_night([run], tmp_path / "night")
    wanted = {link.partition("#")[2] for link in page.read(written[0].read_text()).links if "report.html#" in link}
    assert wanted
    assert wanted <= set(page.read((run / "report.html").read_text()).ids)


def test_a_second_report_of_the_same_runs_writes_the_same_bytes(run: Path, tmp_path: Path) -> None:
    first = [path.read_bytes() for path in write_night([run], tmp_path / "night")]
    assert [path.read_bytes() for path in write_night([run], tmp_path / "night")] == first


def test_a_history_that_is_not_there_yet_is_an_empty_one(run: Path, tmp_path: Path) -> None:
    *_, history = write_night([run], tmp_path / "night", known=tmp_path / "missing.jsonl")
    assert len(history.read_text().splitlines()) == 1


def test_lines_that_cannot_be_read_are_an_error_but_keep_nothing_from_being_written(run: Path, tmp_path: Path) -> None:
    known = tmp_path / "history.jsonl"
    known.write_text("{}\nnonsense\n")
    with pytest.raises(ReportError, match="2 lines of the history"):
        write_night([run], tmp_path / "night", known=known)
    assert (tmp_path / "night" / "index.html").is_file()


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run directory"):
        write_night([tmp_path], tmp_path / "night")


def test_what_matrix_list_prints_is_a_plan(run: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    minor = ".".join(RunDir(run).info().kubernetes.split(".")[:2])
    usual = [cell for cell in matrix.load() if cell.variant == "flannel"]
    cells = [replace(cell, unavailable="no machine", kubernetes=minor) for cell in usual]
    plan.write_text(json.dumps({"items": [matrix_run.item(cell) for cell in cells]}))
    written = write_night([run], tmp_path / "night", plan=plan)
    text = written[1].read_text()
    assert "| flannel on kind | unavailable: no machine |" in text
    # The run of the sample is that of the usual flannel cell.
    assert "| flannel | unavailable" not in text


def test_a_cell_that_left_no_run_is_told_with_its_exit_code(tmp_path: Path) -> None:
    (cell,) = [cell for cell in matrix.load() if cell.id == "flannel"]
    record = tmp_path / "matrix.json"
    outcomes = [matrix_run.Outcome(cell, "failed", 11)]
    record.write_text(json.dumps({"items": [one.item() for one in outcomes]}))
    written = write_night([], tmp_path / "night", plan=record)
    assert "| flannel, dual stack | it ended with exit code 11 and left no run directory |" in written[1].read_text()


def test_a_plan_that_is_none_is_refused(run: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"items": [{"id": "x"}]}')
    with pytest.raises(UsageError, match="is not a plan of a matrix"):
        write_night([run], tmp_path / "night", plan=plan)
