"""A run is judged again from what it has seen: same bytes, and every verdict that is another one is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.judging import judge_all
from conformance.registry import CHECKS, select
from harness.cli import app as entry
from harness.errors import UsageError
from harness.model.journal import TEST, Journal
from harness.model.records import Observation
from harness.model.run import RunDir
from harness.steps.suite.judge import SELECT, judge_run
from tests.unit.conformance import simlab
from tests.unit.pytest_plugin.test_plugin import saved_run

ASKED = "nat,mtu.*"


def run_of(
    path: Path, observations: tuple[Observation, ...] = simlab.GREEN, asked: str = ASKED, *, told: bool = True
) -> RunDir:
    """A run with verdicts, as `cnilab test` leaves it; versions before this one did not tell what they were asked."""
    run = saved_run(path, observations)
    with Journal(run).step(TEST, "conformance", **({SELECT: asked} if told else {})):
        context = simlab.context(observations)
        judged = judge_all(context, select(asked), CHECKS)
        run.add_results(one.model_copy(update={"wall_ms": 12.5, "at": "2026-11-30T12:00:00Z"}) for one in judged)
    return run


def digests(path: Path) -> dict[str, str]:
    return {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in path.iterdir()}


def test_a_run_is_judged_as_it_was_and_is_left_as_it_is(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    before = digests(tmp_path)
    judged = judge_run(run)
    assert [one.id for one in judged.results] == [check.id for check in select(ASKED)]
    assert (judged.differences, judged.compared) == ([], len(judged.results))
    # The same bytes each time: of the moment when the run was judged, and without what that costs.
    assert judged.results == [one.model_copy(update={"wall_ms": 0.0}) for one in run.results()]
    assert {one.at for one in judged.results} == {"2026-11-30T12:00:00Z"}
    assert digests(tmp_path) == before


def test_a_verdict_that_is_another_one_is_named(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    first, second, *_ = run.results()
    run.add_results([
        first.model_copy(update={"status": "fail", "reason": "lost"}),
        second.model_copy(update={"statement": "an older sentence"}),
    ])  # fmt: skip
    assert [str(one) for one in judge_run(run).differences] == [
        f"{first.id}: fail, now pass",
        f"{second.id}: pass as before, but with another statement",
    ]


def test_what_was_asked_for_last_is_judged_unless_something_else_is(tmp_path: Path) -> None:
    run = run_of(tmp_path, asked="nat")
    assert {one.id for one in judge_run(run).results} == {check.id for check in select("nat")}
    assert [one.id for one in judge_run(run, "svc.kpf").results] == ["svc.kpf"]
    assert judge_run(run, "svc.kpf").compared == 0
    assert len(judge_run(run, "").results) == len(CHECKS)


def test_of_a_run_that_does_not_tell_what_it_was_asked_all_is_judged_that_was_looked_at(tmp_path: Path) -> None:
    looked = tuple(one for one in simlab.GREEN if one.batch in {"B0", "B1"})
    judged = judge_run(run_of(tmp_path, looked, "model.loss", told=False))
    found = {one.id for one in judged.results}
    assert {"model.loss", "model.identity", "node.sysctl"} <= found
    assert {"mtu.exact", "cni.version"} & found == set()
    assert (judged.differences, judged.compared) == ([], 1)


def damaged(run: RunDir) -> None:
    with (run.path / "observations.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "exchange", "batch": 7}\n')


def emptied(run: RunDir) -> None:
    (run.path / "observations.jsonl").unlink()


@pytest.mark.parametrize("harm", [damaged, emptied])
def test_what_cannot_be_judged_is_said_with_the_reason(
    harm: Callable[[RunDir], None], tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    run = run_of(tmp_path / "run")
    harm(run)
    with pytest.raises(UsageError) as caught:
        judge_run(run)
    golden(f"judge/{harm.__name__}.txt", f"{caught.value}\n".replace(str(tmp_path), "/runs"))


def test_an_unknown_check_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        judge_run(run_of(tmp_path), "no.such")


def test_the_command_prints_the_same_bytes_each_time_and_exits_as_test_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path)
    printed = []
    for _ in range(2):
        assert entry.run(["judge", str(run.path), "-o", "json"]) == 0
        printed.append(capsys.readouterr())
    assert printed[0].out == printed[1].out
    assert len(json.loads(printed[0].out)["items"]) == len(select(ASKED))
    assert printed[0].err == f"All {len(select(ASKED))} verdicts of the run are the same.\n"


def test_the_command_exits_with_1_where_a_requirement_is_not_met(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = simlab.changed(simlab.exchanges({"outcome": "timeout"}, purpose="mesh", src="a", dst="c")).observations
    run = run_of(tmp_path, seen, asked="model.pod-pod.cross-node")
    assert entry.run(["judge", str(run.path)]) == 1
    assert "0 of 1 as required, 1 failed" in capsys.readouterr().err
