"""A night on this machine: cells one after the other, one report, and the next night that knows the first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli
from tests.unit.reports import page

MATRIX = """
apiVersion: cnilab.dev/v1
kind: Matrix
groups:
  - {{variants: [bridge], labs: none, name: {name}}}
  - {{variants: [flannel], provider: existing, name: {name}}}
"""


@pytest.mark.night
def test_cells_run_one_after_the_other_and_the_next_night_tells_what_changed(
    cli: Cli, untouched: list[str], tmp_path: Path
) -> None:
    name = untouched[0]
    path = tmp_path / "mine.yaml"
    path.write_text(MATRIX.format(name=name))
    first = cli.data("matrix", "run", "--file", path, "--into", tmp_path / "one")
    assert [(item["id"], item["state"]) for item in first["items"]] == [
        (f"{name}-bridge", "ok"),
        (f"{name}-flannel", "ok"),
    ]
    assert cli.labs() == {}
    read = page.read((tmp_path / "one" / "index.html").read_text())
    assert read.problems == []
    assert {f"{name}-bridge/report.html", f"{name}-flannel/report.html"} <= set(read.links)
    assert "2 of 2 cells are as expected" in read.text
    assert "flannel on existing" in read.text

    history = tmp_path / "one" / "history.jsonl"
    wanted = ("--file", path, "--into", tmp_path / "two", "--history", history)
    cli("matrix", "run", f"{name}-bridge", *wanted)
    lines = [json.loads(line) for line in (tmp_path / "two" / "history.jsonl").read_text().splitlines()]
    assert [line["key"].split("/")[:3] for line in lines] == [
        ["namespaces", "host", "bridge"],
        ["existing", "host", "flannel"],
        ["namespaces", "host", "bridge"],
    ]
    assert "There is no earlier run" in (tmp_path / "one" / "summary.md").read_text()
    assert "There is no earlier run" not in (tmp_path / "two" / "summary.md").read_text()
