"""Commands on a lab that lives in a virtual machine; the machine itself is the end-to-end tests' business."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import up_inside
from harness.cli.app import run
from harness.cli.spec_options import Asked
from harness.steps.kernel import inside as kernel
from harness.vm.channel import WATCHED, Patience, gone


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
def machine(state: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    recorded = Recorded()

    def find(directory: Path, name: str, program: object) -> Recorded | None:
        del program
        assert directory == state
        return recorded if name == "far" else None

    monkeypatch.setattr(kernel, "find", find)
    return recorded


@pytest.mark.parametrize(
    "words",
    [
        ["test", "--cluster", "far", "--select", "mtu"],
        ["apply", "--cluster", "far"],
        ["trace", "a", "b", "--cluster", "far"],
        ["collect", "--cluster", "far"],
        ["collect", "--lab", "far"],
    ],
)
def test_a_command_runs_where_its_lab_is_with_its_own_words(words: list[str], machine: Recorded) -> None:
    assert run(words) == 7
    assert machine.asked == [(words, None)]


def test_a_command_of_a_node_can_read_what_is_typed(machine: Recorded) -> None:
    assert run(["exec", "--cluster", "far", "n1", "--", "cat"]) == 7
    assert machine.asked[0][1] == 0


def test_a_lab_of_this_machine_is_left_to_the_command(machine: Recorded) -> None:
    assert run(["test", "--cluster", "near"]) not in {0, 7}
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
    assert run(["test", "--cluster", "far"]) == 7
    assert machine.patience.on_interrupt is not None
    assert machine.patience.interrupted is not None, "or one that hangs would be waited for"


class Young(Recorded):
    """A machine that was started for a lab, whose bring-up ends with a code."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code
        self.state = SimpleNamespace(release="6.1.0-cloud", accelerator="tcg")

    def cnilab(self, words: list[str], **more: Any) -> int:
        del more
        self.asked.append((list(words), None))
        return self.code


@pytest.fixture
def ended(state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names of labs whose machines were ended, in a directory with options of its own."""
    del state
    monkeypatch.chdir(tmp_path)
    found: list[str] = []
    monkeypatch.setattr(up_inside, "_end", lambda name, journal: found.append(name) if journal else None)
    return found


def bring_up(monkeypatch: pytest.MonkeyPatch, machine: Young, *words: str) -> tuple[int, list[str]]:
    """Exit code, and what the machine was asked."""

    def start(spec: object, folder: Path, *more: object) -> Young:
        del spec, more
        folder.mkdir(parents=True)
        return machine

    monkeypatch.setattr(kernel, "start", start)
    code = run(["up", "flannel", "--kernel", "debian", "--name", "new", *words])
    ((asked, _),) = machine.asked
    return code, asked


def test_a_lab_inside_is_what_was_decided_outside(
    ended: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cnilab.toml").write_text("[up]\nnodes = 3\n")
    monkeypatch.setattr(kernel, "adopt", lambda inside: tmp_path / "kubeconfig" if inside else None)
    code, asked = bring_up(monkeypatch, Young(0), "--retain", "--kernel-arguments", "ipv6.disable=1 quiet")
    assert code == 0
    assert asked[0] == "up"
    assert "--retain" in asked
    handed_over = Asked.read(Path(asked[asked.index("--handed-over") + 1]))
    assert (handed_over.spec.cni, handed_over.spec.nodes, handed_over.spec.kernel) == ("flannel", 3, "debian")
    assert handed_over.spec.kernel_arguments == ("ipv6.disable=1", "quiet")
    arguments = ["--kernel-arguments", "ipv6.disable=1 quiet"]
    assert handed_over.words == ["flannel", "--name", "new", "--nodes", "3", "--kernel", "debian", *arguments]
    assert ended == []


def test_a_machine_whose_lab_cannot_be_taken_over_is_ended(ended: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(inside: object) -> Path:
        del inside
        cause = "it closed the connection"
        raise gone(cause)

    monkeypatch.setattr(kernel, "adopt", silent)
    code, _ = bring_up(monkeypatch, Young(0))
    assert code == 11
    assert ended == ["new"]
