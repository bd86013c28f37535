"""`cnilab matrix`: what it prints, what it leaves, and what its exit code says."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import program
from harness.cli.app import run
from harness.model.matrix import Cell
from harness.steps.matrix import plan

RUN = """
import json, pathlib, sys
words = sys.argv[1:]
print("a table of the run")
place = pathlib.Path(words[words.index("--run-dir") + 1])
place.mkdir(parents=True)
variant = words[words.index("run") + 1]
info = {"id": place.name, "lab": place.name, "started": "2026-11-21T02:00:00Z", "variant": variant}
info |= {"provider": "namespaces", "kubernetes": "1.34", "nodes": 2}
(place / "run.json").write_text(json.dumps(info))
sys.exit({"bridge": 1, "cilium": 11}.get(variant, 0))
"""

MINE = """
apiVersion: cnilab.dev/v1
kind: Matrix
groups:
  - variants: [flannel, cilium, bridge]
  - {variants: [flannel], name: far, provider: vagrant}
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A matrix whose cells are run by a program that makes a run directory; this machine can run all but `far-…`."""

    def judged(found: list[Cell], state: Path, cache: Path) -> list[Cell]:
        del state, cache
        return [replace(cell, unavailable="no machine" if cell.id.startswith("far") else "") for cell in found]

    monkeypatch.setattr(program, "ARGV", (sys.executable, "-c", RUN))
    monkeypatch.setattr(plan, "judged", judged)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    return path


def test_github_gets_one_line_with_the_cells_that_can_run(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["matrix", "list", "--file", str(mine), "-o", "github"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    include = json.loads(line)["include"]
    assert [one["cell"] for one in include] == ["flannel", "cilium", "bridge"]
    assert all(one["timeout"] > one["minutes"] for one in include)


def test_a_table_has_all_cells_with_the_reason(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["matrix", "list", "--file", str(mine)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[-1].endswith("unavailable: no machine")


def test_a_night_goes_on_and_its_exit_code_is_that_of_the_first_failure(
    mine: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["matrix", "run", "--file", str(mine), "--into", "night", "-o", "json"]) == 11
    printed = capfd.readouterr()
    document = json.loads(printed.out)
    assert printed.err.count("a table of the run") == 3
    assert [(one["id"], one["state"], one["exit"]) for one in document["items"]] == [
        ("flannel", "ok", 0),
        ("cilium", "failed", 11),
        ("bridge", "failed", 1),
        ("far-flannel", "unavailable", 0),
    ]
    assert document["directory"] == "night"
    summary = (tmp_path / "night" / "summary.md").read_text()
    assert "| flannel on vagrant | unavailable: no machine |" in summary


def test_chosen_cells_alone_are_run(mine: Path, tmp_path: Path) -> None:
    assert run(["matrix", "run", "flannel", "--file", str(mine), "--into", "night"]) == 0
    assert sorted(path.name for path in (tmp_path / "night").iterdir() if path.is_dir()) == ["flannel"]


def test_files_and_links_among_the_runs_are_passed_over(mine: Path, tmp_path: Path) -> None:
    assert run(["matrix", "run", "flannel", "--file", str(mine), "--into", "night"]) == 0
    (tmp_path / "night" / "latest").symlink_to("flannel")
    words = [str(path) for path in (tmp_path / "night").iterdir()]
    assert run(["matrix", "report", *words, "--into", "other"]) == 0
    assert len((tmp_path / "other" / "history.jsonl").read_text().splitlines()) == 1


def test_a_mistyped_cell_is_a_usage_error(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["matrix", "run", "flanel", "--file", str(mine)]) == 4
    assert "did you mean 'flannel'?" in capsys.readouterr().err
