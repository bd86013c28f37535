"""Stored cases: what was seen under a fault, and whether the causes that are told now name what was broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.causes.explain import explain
from conformance.context import saved
from conformance.judging import judge_all
from conformance.registry import CHECKS
from harness.cli import app as entry
from harness.errors import UsageError
from harness.model.cause import Answer
from harness.model.run import RunInfo
from harness.steps.faults import cases
from tests.unit.conformance import stored
from tests.unit.conformance.broken_worlds import BROKEN, NETWORK

ROUTE = "node.routes[n1:10.244.1.0/24]"


def store(folder: Path, fault: str = "F01", *keys: str) -> Path:
    """A case: a cluster whose node has lost a route; its answer is that route, unless other keys are given."""
    seen = stored.context(NETWORK, BROKEN["route"][0])
    seen = replace(seen, observations=(*saved(seen.inventory, seen.variant), *seen.observations))
    results = judge_all(seen, [CHECKS["node.routes"]], CHECKS)
    info = RunInfo(
        id="r", lab="l", started="now", variant="flannel", provider="namespaces", kubernetes="1.37", nodes=2,
        spec=seen.spec.model_dump(mode="json", by_alias=True),
    )  # fmt: skip
    answer = Answer(
        fault=fault, title="A route is gone", inject="n1: ip route del", family="ipv4", held=fault == "F02",
        keys=keys or (ROUTE,),
    )  # fmt: skip
    cases.keep(folder, info, seen, results, explain(seen, results), answer)
    return folder / fault


def test_a_case_is_told_as_it_was_when_it_was_stored(tmp_path: Path) -> None:
    scored = cases.score(store(tmp_path))
    assert (scored.named, scored.answer.fault) == (1, "F01")
    assert scored.causes[0].key == ROUTE
    assert scored.then == tuple(one.key for one in scored.causes)


def test_what_the_causes_do_not_name_has_no_place(tmp_path: Path) -> None:
    assert cases.score(store(tmp_path, "F01", "n2/route/*")).named == 0


def test_a_case_is_a_run_that_can_be_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["judge", str(store(tmp_path)), "--strict", "-o", "json"]) == 1
    printed = capsys.readouterr()
    assert [one["id"] for one in json.loads(printed.out)["items"]] == ["node.routes"]
    assert printed.err.endswith("All 1 verdicts of the run are the same.\n")


def test_the_command_counts_and_the_bar_decides_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Callable[[str, str], None]
) -> None:
    store(tmp_path, "F01")
    store(tmp_path, "F02", "n2/route/*")
    assert entry.run(["score", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    golden("cases/score.txt", printed.out + printed.err)
    assert entry.run(["score", str(tmp_path), "--least", "50"]) == 0
    assert entry.run(["score", str(tmp_path), "--least", "50.1"]) == 1
    capsys.readouterr()
    assert entry.run(["score", str(tmp_path / "F01"), "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["cases"], document["first"], document["items"][0]["named"]) == (1, 1, 1)


def test_causes_that_are_other_ones_than_those_that_were_stored_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store(tmp_path) / "causes.jsonl").write_text("")
    assert entry.run(["score", str(tmp_path)]) == 0
    assert capsys.readouterr().err.endswith("Other causes than when the case was stored: F01.\n")


def damaged(case: Path) -> None:
    (case / cases.ANSWER).write_text('{"fault": "F01"}')


def emptied(case: Path) -> None:
    (case / "observations.jsonl.gz").unlink()


def cut(case: Path) -> None:
    packed = case / "observations.jsonl.gz"
    packed.write_bytes(packed.read_bytes()[:200])


def gone(case: Path) -> None:
    shutil.rmtree(case)


@pytest.mark.parametrize("harm", [damaged, emptied, cut, gone])
def test_what_is_no_case_is_said_with_the_reason(
    harm: Callable[[Path], None], tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    harm(store(tmp_path))
    with pytest.raises(UsageError) as caught:
        [cases.score(case) for case in cases.found([tmp_path])]
    golden(f"cases/{harm.__name__}.txt", f"{caught.value}\n".replace(str(tmp_path), "/cases"))


def test_cases_of_two_runs_are_not_mixed(tmp_path: Path) -> None:
    cases.insist_empty(tmp_path)
    cases.insist_empty(tmp_path / "new")
    store(tmp_path)
    with pytest.raises(UsageError, match="is not an empty directory"):
        cases.insist_empty(tmp_path)


def test_cases_without_causes_are_refused_before_anything_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["test", "--fault", "F01", "--cases", "cases"]) == 4
    assert "--cases goes with --faults or --fault, and with --explain" in capsys.readouterr().err
