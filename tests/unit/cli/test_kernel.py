"""Commands on a lab that lives in a virtual machine; the machine itself is the end-to-end tests' business."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli.app import run
from harness.providers.vm.channel import WATCHED, Patience
from harness.steps import kernel


class Recorded:
    """Stands for a lab's machine: keeps what it is asked to run."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], int | None]] = []
        self.patience = WATCHED
        self.alive = True

    def answers(self) -> bool:
        return self.alive

    def cnilab(
        self, words: list[str], *, stdin: int | None = None, tty: bool = False, patience: Patience = WATCHED
    ) -> int:
        assert not tty
        self.asked.append((list(words), stdin))
        self.patience = patience
        return 7


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CNILAB_STATE", str(tmp_path))
    (tmp_path / "labs/far/vm").mkdir(parents=True)
    (tmp_path / "labs/near").mkdir()
    return tmp_path


@pytest.fixture
def machine(state: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    recorded = Recorded()

    def find(directory: Path, name: str) -> Recorded | None:
        assert directory == state
        return recorded if name == "far" else None

    monkeypatch.setattr(kernel, "find", find)
    return recorded


@pytest.mark.parametrize(
    "words",
    [
        ["test", "--lab", "far", "--select", "mtu"],
        ["apply", "--lab", "far"],
        ["trace", "a", "b", "--lab", "far"],
        ["collect", "--lab", "far"],
    ],
)
def test_a_command_runs_where_its_lab_is_with_its_own_words(words: list[str], machine: Recorded) -> None:
    assert run(words) == 7
    assert machine.asked == [(words, None)]


def test_a_command_of_a_node_can_read_what_is_typed(machine: Recorded) -> None:
    assert run(["exec", "--lab", "far", "n1", "--", "cat"]) == 7
    assert machine.asked[0][1] == 0


def test_a_lab_of_this_machine_is_left_to_the_command(machine: Recorded) -> None:
    assert run(["test", "--lab", "near"]) not in {0, 7}
    assert machine.asked == []


def test_the_schema_knows_the_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    schema: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert '"debian"' in json.dumps(schema)


def test_down_takes_the_lab_inside_down_first_but_does_not_wait_for_ever(machine: Recorded, state: Path) -> None:
    assert run(["down", "far"]) == 0
    assert machine.asked == [(["--quiet", "down", "far"], None)]
    assert machine.patience.whole is not None
    assert machine.patience.interrupted == 0.0
    assert not (state / "labs/far").exists()


def test_down_does_not_ask_a_machine_that_does_not_answer(machine: Recorded, state: Path) -> None:
    machine.alive = False
    assert run(["down", "far"]) == 0
    assert machine.asked == []
    assert not (state / "labs/far").exists()


def test_a_command_inside_bounds_its_own_cleaning_up(machine: Recorded) -> None:
    assert run(["test", "--lab", "far"]) == 7
    assert machine.patience.on_interrupt is not None
    assert machine.patience.interrupted is None
