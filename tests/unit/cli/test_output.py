"""Tables and documents on stdout."""

from __future__ import annotations

import json

import click
import pytest

from harness.cli.output import Listing, age, emit, table
from harness.yamlio import loads

LISTING = Listing(
    "Lab",
    ("name", "status"),
    [("one", "Ready", "x"), ("two", "", "y")],
    [{"name": "one"}, {"name": "two"}],
    wide=("path",),
)


def test_a_table_has_no_borders_and_upper_case_headings() -> None:
    text = click.unstyle(table(("name", "status"), [("a", "ok"), ("longer", "")]))
    assert text == "NAME     STATUS\na        ok\nlonger   <none>"


def test_a_cell_cannot_break_its_row() -> None:
    assert table(("name",), [("a\nb\x1b[2J",)]) == "NAME\na\\nb\\x1b[2J"


def test_wide_shows_more_columns(capsys: pytest.CaptureFixture[str]) -> None:
    emit(LISTING, "table")
    assert "PATH" not in capsys.readouterr().out
    emit(LISTING, "wide")
    assert capsys.readouterr().out.splitlines()[1] == "one    Ready    x"


def test_json_and_yaml_carry_the_same_document(capsys: pytest.CaptureFixture[str]) -> None:
    emit(LISTING, "json")
    document = json.loads(capsys.readouterr().out)
    emit(LISTING, "yaml")
    assert loads(capsys.readouterr().out) == document
    assert document == {
        "apiVersion": "cnilab.dev/v1",
        "kind": "LabList",
        "items": [{"name": "one"}, {"name": "two"}],
    }


def test_name_prints_kind_and_name(capsys: pytest.CaptureFixture[str]) -> None:
    emit(LISTING, "name")
    assert capsys.readouterr().out == "lab/one\nlab/two\n"


def test_an_empty_table_says_so_on_stderr_and_leaves_stdout_empty(capsys: pytest.CaptureFixture[str]) -> None:
    emit(Listing("Lab", ("name",), [], []), "table", empty="No cluster found.")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "No cluster found.\n")


@pytest.mark.parametrize(
    ("seconds", "text"), [(-60, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172800, "2d")]
)
def test_ages_are_as_kubectl_prints_them(seconds: float, text: str) -> None:
    assert age(seconds) == text
