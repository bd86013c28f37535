"""`cnilab mutate`, with clusters and faults replaced: which it runs, what it keeps, and what its exit code says."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from harness.cli import app as entry
from harness.cli.command import command as define
from harness.cli.commands import mutate
from harness.errors import BringUpError, UsageError
from harness.model.records import Census, FaultRun, Red
from harness.model.run import RunDir, RunInfo
from harness.steps.faults import run as faults

CROSS = "model.pod-pod.cross-node"
Calls = list[tuple[str, ...]]


class Lab:
    """Stands in for clusters: what was asked for, and what faults do there."""

    def __init__(self) -> None:
        self.calls: Calls = []
        self.outcomes: dict[str, str] = {}
        self.broken: set[str] = set()
        self.interrupt_at = ""

    def run_faults(self, there: Any, run: RunDir, journal: object, wish: faults.Wish) -> list[FaultRun]:
        del journal
        self.calls.append(("faults", there.spec.cni, *wish.only))
        assert wish.everyone
        run.write_census(Census(checks=(CROSS,), gates={"multi": True, "node": True}))
        for name in wish.only:
            if name == self.interrupt_at:
                raise KeyboardInterrupt
            outcome = self.outcomes.get(name, "killed")
            kills = [Red(check=CROSS, legs=("a>c/tcp",))] if outcome == "killed" else []
            record = {"fault": name, "title": "x", "inject": "x", "outcome": outcome, "reds": kills, "detail": "why"}
            run.add_faults([FaultRun.model_validate(record)])
        return []


def info(variant: str) -> RunInfo:
    return RunInfo(
        id=f"1-{variant}", lab=variant, started="2026-11-29T10:00:00Z", variant=variant, provider="namespaces",
        kubernetes="1.37", nodes=2,
    )  # fmt: skip


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    made = Lab()
    real = entry.find

    def part(name: str) -> click.Command:
        if name == "mutate":
            return real(name)

        @define(name, examples="x", context_settings={"ignore_unknown_options": True})
        @click.argument("words", nargs=-1, type=click.UNPROCESSED)
        def command(words: tuple[str, ...]) -> int:
            made.calls.append((name, *words))
            if name == "up":
                place = Path(words[words.index("--run-dir") + 1])
                RunDir(place).write_info(info(words[0]))
                if words[0] in made.broken:
                    msg = f"{words[0]} does not come up"
                    raise BringUpError(msg)
            return 0

        return command

    def attach(name: str) -> SimpleNamespace:
        variant = name.removeprefix("mutate-")
        run = RunDir(tmp_path / "of-the-cluster")
        run.write_info(info(variant))
        return SimpleNamespace(spec=SimpleNamespace(cni=variant, nodes=2), run=run, lab=SimpleNamespace(name=name))

    monkeypatch.setenv("CNILAB_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(entry, "find", part)
    monkeypatch.setattr(mutate, "attached", attach)
    monkeypatch.setattr(faults, "run_faults", made.run_faults)
    monkeypatch.chdir(tmp_path)
    return made


def names(lab: Lab) -> list[str]:
    return [call[0] for call in lab.calls]


def test_each_network_has_a_cluster_of_its_own_which_is_removed(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["mutate", "--variants", "flannel,bridge", "--faults", "F01,F05", "--into", "night", "-o", "json"]
    assert entry.run(words) == 1  # F05 wants more checks to fail
    assert names(lab) == ["up", "faults", "report", "down"] * 2
    assert lab.calls[0] == (
        "up", "flannel", "--name", "mutate-flannel", "--nodes", "2", "--run-dir", "night/flannel", "--replace",
    )  # fmt: skip
    assert lab.calls[1] == ("faults", "flannel", "F01", "F05")
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "MutationList"
    assert [(one["variant"], one["fault"]) for one in document["items"]] == [
        ("flannel", "F01"), ("flannel", "F05"), ("bridge", "F01"), ("bridge", "F05"),
    ]  # fmt: skip


@pytest.mark.parametrize(("outcome", "code"), [("equivalent", 0), ("not-applicable", 0), ("error", 1)])
def test_the_exit_code_tells_what_is_wrong_with_the_suite(lab: Lab, outcome: str, code: int) -> None:
    lab.outcomes["F01"] = outcome
    assert entry.run(["mutate", "--faults", "F01"]) == code


def test_a_network_that_does_not_come_up_does_not_stop_the_others(lab: Lab) -> None:
    lab.broken.add("flannel")
    lab.outcomes["F01"] = "equivalent"
    assert entry.run(["mutate", "--variants", "flannel,bridge", "--faults", "F01"]) == BringUpError.exit_code
    assert names(lab) == ["up", "down", "up", "faults", "report", "down"]


def test_after_an_interrupt_the_cluster_is_removed_and_the_run_can_go_on(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.interrupt_at = "F03"
    lab.outcomes |= dict.fromkeys(("F01", "F02", "F03", "F04"), "equivalent")
    words = ["mutate", "--variants", "flannel", "--faults", "F01,F02,F03,F04", "--into", "night"]
    assert entry.run(words) == 130
    assert names(lab) == ["up", "faults", "down"]
    assert "cnilab mutate --resume night" in capsys.readouterr().err
    lab.interrupt_at, lab.calls = "", []
    assert entry.run(["mutate", "--resume", "night"]) == 0
    assert lab.calls[1] == ("faults", "flannel", "F03", "F04")
    assert "night/flannel-2" in lab.calls[0]
    lab.calls = []
    assert entry.run(["mutate", "--resume", "night", "-o", "name"]) == 0
    assert lab.calls == []
    assert "mutation/flannel/F04" in capsys.readouterr().out


def test_a_page_is_written_and_says_what_is_new(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["mutate", "--faults", "F01", "--into", "one", "--write", "page.md"]) == 0
    assert "new since" not in capsys.readouterr().err
    lab.outcomes["F01"] = "error"
    assert entry.run(["mutate", "--faults", "F01", "--into", "two", "--write", "page.md"]) == 1
    assert "new since" in capsys.readouterr().err
    assert Path("page.json").exists()
    assert "| `F01` route-del |" in Path("page.md").read_text()


def test_a_cluster_that_is_there_is_used_and_stays(lab: Lab) -> None:
    lab.outcomes["F01"] = "equivalent"
    assert entry.run(["mutate", "--cluster", "flannel", "--faults", "F01", "--into", "night"]) == 0
    assert lab.calls == [("faults", "flannel", "F01")]
    assert RunDir(Path("night/flannel")).info().variant == "flannel"
    assert entry.run(["mutate", "--cluster", "bridge", "--resume", "night"]) == UsageError.exit_code


@pytest.mark.parametrize(
    "words",
    [
        ["--variants", "flanel"],
        ["--faults", "F99"],
        ["--variants", ","],
        ["--cluster", "flannel", "--variants", "bridge"],
        ["--cluster", "flannel", "--nodes", "3"],
        ["--resume", "."],
        ["--resume", ".", "--faults", "F01"],
        ["--nodes", "1"],
    ],
)
def test_what_cannot_be_meant_begins_nothing(lab: Lab, words: list[str]) -> None:
    assert entry.run(["mutate", *words]) == UsageError.exit_code
    assert lab.calls == []
    assert not Path(".runs").exists()
