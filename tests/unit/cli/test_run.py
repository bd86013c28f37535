"""`cnilab run`: which parts it does, in which order, and what its exit code says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from harness.cli import app as entry
from harness.cli.command import command as define
from harness.cli.runs import run_path
from harness.cli.spec_options import taken_over
from harness.errors import BringUpError, UsageError
from harness.model import labstate
from harness.model.labstate import LabDir, LabState
from harness.model.run import RunDir, RunInfo
from harness.model.spec import LabSpec

Calls = list[tuple[str, ...]]

RUN = RunInfo(
    id="1-flannel", lab="flannel", started="2026-01-01T00:00:00Z", variant="flannel", provider="namespaces",
    kubernetes="1.34", nodes=2, spec={}, reproduce="", version="1", host={},
)  # fmt: skip


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    """Words of each part; a part fails when its name is in `.failing`, or raises when it is in `.raising`."""
    made: Calls = []
    real = entry.find

    def part(name: str) -> click.Command:
        if name == "run":
            return real(name)

        @define(name, examples="x", context_settings={"ignore_unknown_options": True})
        @click.argument("words", nargs=-1, type=click.UNPROCESSED)
        def command(words: tuple[str, ...]) -> int:
            asked = taken_over(click.get_current_context())
            made.append((name, *(asked.words if asked and asked.decided else ()), *words))
            click.echo(f"data of {name}")
            outcome = (tmp_path / name).read_text(encoding="utf-8") if (tmp_path / name).exists() else "0"
            if outcome == "begin":
                (tmp_path / ".runs/1-flannel").mkdir(parents=True)
                RunDir(tmp_path / ".runs/1-flannel").write_info(RUN)
            if outcome in {"raise", "begin"}:
                msg = f"{name} broke"
                raise BringUpError(msg)
            if outcome == "interrupt":
                raise KeyboardInterrupt
            return int(outcome)

        return command

    monkeypatch.setenv("CNILAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(entry, "find", part)
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def outcome(tmp_path: Path) -> Callable[[str, str], None]:
    def write(name: str, how: str) -> None:
        (tmp_path / name).write_text(how, encoding="utf-8")

    return write


def names(calls: Calls) -> list[str]:
    return [call[0] for call in calls]


ALL = ["up", "apply", "test", "trace", "trace", "collect", "report", "down"]


def test_all_parts_in_order_on_the_lab_of_the_spec(calls: Calls) -> None:
    assert entry.run(["run", "bridge", "--name", "mine", "--nodes", "3", "--replace"]) == 0
    assert names(calls) == ALL
    assert calls[0] == ("up", "bridge", "--name", "mine", "--nodes", "3", "--replace")
    assert all("mine" in call for call in calls)


def test_a_lab_that_does_not_come_up_still_leaves_its_report_and_nothing_else(
    calls: Calls, outcome: Callable[[str, str], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    outcome("up", "begin")
    assert entry.run(["run", "flannel"]) == BringUpError.exit_code
    assert calls[1:] == [("report", str(tmp_path / ".runs/1-flannel"))]
    assert "error: up broke" in capsys.readouterr().err


def test_after_a_refusal_nothing_is_done_and_a_lab_of_that_name_is_left_alone(
    calls: Calls, outcome: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outcome("up", "raise")
    monkeypatch.setenv("CNILAB_STATE", str(tmp_path / "state"))
    there = LabState(name="flannel", created="2026-01-01T00:00:00Z", spec=LabSpec(), owner=os.getppid())
    labstate.write(LabDir(tmp_path / "state", "flannel"), there)
    assert entry.run(["run", "flannel"]) == BringUpError.exit_code
    assert names(calls) == ["up"]
    labstate.write(LabDir(tmp_path / "state", "flannel"), there.model_copy(update={"owner": os.getpid()}))
    assert entry.run(["run", "flannel"]) == BringUpError.exit_code
    assert names(calls) == ["up", "up", "down"]


def test_what_is_brought_goes_to_up_and_a_wrong_word_of_it_begins_nothing(calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("#!/bin/sh\n")
    words = ("--component", f"flanneld={tmp_path / 'mine'}", "--component", "kubelet=mine")
    assert entry.run(["run", "flannel", *words]) == 0
    assert calls[0] == ("up", "flannel", *words)
    calls.clear()
    assert entry.run(["run", "bridge", "--component", "flanneld=mine"]) == UsageError.exit_code
    assert entry.run(["run", "flannel", "--component", "flanneld"]) == UsageError.exit_code
    assert calls == []


def test_a_failed_lab_keeps_no_check_from_running_and_is_the_exit_code(
    calls: Calls, outcome: Callable[[str, str], None]
) -> None:
    outcome("apply", "1")
    outcome("test", "raise")
    assert entry.run(["run", "flannel"]) == 1
    assert names(calls) == ALL


def test_a_ping_without_an_answer_is_no_verdict(calls: Calls, outcome: Callable[[str, str], None]) -> None:
    outcome("trace", "1")
    assert entry.run(["run", "flannel"]) == 0
    assert names(calls) == ALL


def test_what_is_left_after_down_is_a_failure(calls: Calls, outcome: Callable[[str, str], None]) -> None:
    outcome("down", "12")
    assert entry.run(["run", "flannel"]) == 12
    assert names(calls) == ALL


def test_an_interrupt_goes_straight_to_down(calls: Calls, outcome: Callable[[str, str], None]) -> None:
    outcome("apply", "interrupt")
    assert entry.run(["run", "flannel"]) == 130
    assert names(calls) == ["up", "apply", "down"]


def test_a_kept_lab_is_not_taken_down(calls: Calls) -> None:
    assert entry.run(["run", "flannel", "--keep", "--no-labs", "-k", "mtu"]) == 0
    assert names(calls) == ["up", "test", "trace", "trace", "collect", "report"]
    assert calls[1] == ("test", "--cluster", "flannel", "--select", "mtu")


def test_long_labs_are_asked_for_by_name(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    assert entry.run(["run", "flannel", "--all-labs"]) == 0
    assert calls[1] == ("apply", "all", "--cluster", "flannel")
    calls.clear()
    monkeypatch.setenv("CNILAB_RUN_ALL_LABS", "1")  # as tox has it for cilium
    assert entry.run(["run", "flannel", "--no-labs"]) == 0
    assert "apply" not in names(calls)


def test_json_is_one_document_about_the_parts(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["run", "flannel", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [item["phase"] for item in document["items"]] == names(calls)
    assert document["exit"] == 0


def test_two_runs_of_a_second_have_two_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = LabSpec(name="mine")
    places = []
    for _ in range(5):  # so many begin in one second, or in two
        places.append(run_path(spec, None))
        places[-1].mkdir(parents=True)
    assert len(set(places)) == len(places)
    assert all(place.match(".runs/*-mine") for place in places)
    assert run_path(spec, tmp_path / "there") == tmp_path / "there"
