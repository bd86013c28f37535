"""The directory of a mutation run: what is asked for, what is done, what is left, and the page that is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.faults.catalogue import faults
from harness.model.mutation import MutationTable
from harness.model.records import Census, FaultOutcome, FaultRun
from harness.model.run import RunDir, RunInfo
from harness.steps.mutation.gather import Night, data_of, plan, read, write

INFO = RunInfo(
    id="1-flannel", lab="flannel", started="2026-11-29T10:00:00Z", variant="flannel", provider="namespaces",
    kubernetes="1.37", nodes=2,
)  # fmt: skip
CENSUS = Census(checks=("model.pod-pod.cross-node", "node.routes"), gates={"multi": True, "node": True})


def one_run(path: Path, started: str, **outcomes: FaultOutcome) -> RunDir:
    run = RunDir(path)
    run.write_info(INFO.model_copy(update={"started": started}))
    run.write_census(CENSUS)
    run.add_faults(
        FaultRun(fault=name, title="x", inject="x", outcome=outcome, detail="because")
        for name, outcome in outcomes.items()
    )
    return run


def test_what_is_asked_for_is_known_before_anything_begins() -> None:
    asked = plan(["flannel", "cilium", "flannel"], ["route-del", "f40"], 3)
    assert (asked.variants, asked.faults, asked.nodes) == (("flannel", "cilium"), ("F01", "F40"), 3)
    assert plan(["flannel"], [], 2).faults == ()
    with pytest.raises(UsageError, match="no network named 'flanel'"):
        plan(["flanel"], [], 2)
    with pytest.raises(UsageError, match="no network is named"):
        plan([], [], 2)
    with pytest.raises(UsageError, match="no fault named 'F99'"):
        plan(["flannel"], ["F99"], 2)


def test_a_directory_holds_one_run_which_can_go_on(tmp_path: Path) -> None:
    night = Night(tmp_path / "tonight")
    asked = plan(["flannel"], ["F01"], 2)
    night.begin(asked)
    assert night.plan() == asked
    with pytest.raises(UsageError, match="earlier mutation run"):
        night.begin(asked)
    with pytest.raises(UsageError, match="no directory of a mutation run"):
        Night(tmp_path).plan()


def test_a_run_that_goes_on_does_what_has_no_verdict(tmp_path: Path) -> None:
    night = Night(tmp_path)
    asked = plan(["flannel"], ["F01", "F02", "F03", "F04"], 2)
    assert night.left("flannel", asked) == ["F01", "F02", "F03", "F04"]
    assert night.free("flannel") == tmp_path / "flannel"
    one_run(tmp_path / "flannel", "2026-11-29T10:00:00Z", F01="killed", F02="equivalent", F03="error")
    assert night.left("flannel", asked) == ["F03", "F04"]
    assert night.left("bridge", asked) == ["F01", "F02", "F03", "F04"]
    assert night.free("flannel") == tmp_path / "flannel-2"
    one_run(tmp_path / "flannel-2", "2026-11-29T11:00:00Z", F03="survived", F04="not-applicable")
    assert night.left("flannel", asked) == []
    (column,) = night.columns(["flannel", "bridge"])
    assert {cell.fault: cell.outcome for cell in column.cells} == {
        "F01": "survived",  # the record has no check that failed, and the catalogue wants some
        "F02": "equivalent",
        "F03": "not-applicable",  # no check that this lab has would notice
        "F04": "not-applicable",
    }


def test_a_cluster_whose_suite_was_not_ready_has_no_column(tmp_path: Path) -> None:
    RunDir(tmp_path / "flannel").write_info(INFO)
    assert Night(tmp_path).columns(["flannel"]) == []


def test_a_page_is_written_with_its_data_and_says_what_is_new_since_the_one_before(tmp_path: Path) -> None:
    target = tmp_path / "docs/mutation.md"
    assert read(target) == MutationTable()
    night = Night(tmp_path)
    one_run(tmp_path / "flannel", "2026-11-29T10:00:00Z", F01="error", F02="equivalent")
    first = write(target, night.columns(["flannel"]))
    assert (first.before, first.changes) == ("", ())
    assert read(target) == first
    one_run(tmp_path / "flannel-2", "2026-11-30T10:00:00Z", F01="killed")
    second = write(target, night.columns(["flannel"]))
    assert second.before == "2026-11-29T10:00:00Z"
    assert second.changes[0] == "flannel, F01: error before, survived now"
    text = target.read_text(encoding="utf-8")
    assert "## Changes since 2026-11-29" in text
    assert all(f"`{fault.id}`" in text for fault in faults())


def test_a_file_that_is_something_else_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "page.md"
    data_of(target).write_text("[]")
    with pytest.raises(UsageError, match="not the data of a mutation table"):
        write(target, [])
    assert data_of(target).read_text() == "[]"
