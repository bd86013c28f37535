"""What a run directory has survives whoever writes it, and damage is said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.model.records import Event
from harness.model.run import DamagedRunError, RunDir


def event(step: str) -> Event:
    return Event(at="2026-01-01T00:00:00.000000Z", step=step, state="ok")


def test_half_a_line_of_a_killed_harness_is_no_record_and_harms_no_other(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.add_event(event("one"))
    path = tmp_path / "events.jsonl"
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole + whole[:cut])
        assert [one.step for one in run.events()] == (["one"] if cut < len(whole) else ["one", "one"])
        run.add_event(event("two"))
        assert [one.step for one in run.events()] == ["one", "two"]
    path.write_bytes(whole[:5])
    run.add_event(event("two"))
    assert [one.step for one in run.events()] == ["two"]


@pytest.mark.parametrize("line", ["{}", "no json", '{"at": 7}', "\xff"])
def test_a_whole_line_that_is_no_record_is_named(line: str, tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.add_event(event("one"))
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    with pytest.raises(DamagedRunError) as caught:
        run.events()
    assert caught.value.where == f"{tmp_path}/events.jsonl:2"
    assert caught.value.cause
    assert caught.value.exit_code == 4


def test_damage_of_the_run_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{", encoding="utf-8")
    (tmp_path / "topology.json").write_text("[]", encoding="utf-8")
    for read in (RunDir(tmp_path).info, RunDir(tmp_path).topology):
        with pytest.raises(DamagedRunError):
            read()
