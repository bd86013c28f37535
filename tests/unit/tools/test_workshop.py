"""The workshop's scripts: what they refuse, before anything is made."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

WORKSHOP = Path(__file__).parents[3] / "workshop"
SCRIPTS = ("setup.sh", "teardown.sh", "bundle.sh")


def call(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([WORKSHOP / script, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_say_how_they_are_used(script: str) -> None:
    done = call(script, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {script}")


@pytest.mark.parametrize(
    ("script", "words", "error"),
    [
        ("setup.sh", (), "error: how many students?"),
        ("setup.sh", ("--variant",), "error: --variant needs a value"),
        ("setup.sh", ("--varaint", "x"), "error: there is no option --varaint"),
        ("setup.sh", ("nobody",), "error: 'nobody' is neither a number up to 99 nor a file"),
        ("setup.sh", ("0",), "error: '0' is neither a number up to 99 nor a file"),
        ("setup.sh", ("2", "3"), "error: one number or one file, not also '3'"),
        ("setup.sh", ("--nodes", "two", "2"), "error: --nodes is a number, not 'two'"),
        ("teardown.sh", ("all",), "error: there is no option all"),
        ("bundle.sh", (), "error: which file?"),
        ("bundle.sh", ("/nowhere/at/all.tar",), "error: there is no directory /nowhere/at"),
    ],
)
def test_wrong_words_are_refused_with_a_sentence(script: str, words: tuple[str, ...], error: str) -> None:
    done = call(script, *words)
    assert done.returncode == 4
    assert done.stderr.splitlines()[0] == error
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("names", "error"),
    [
        ("ann\nBob\n", "error: 'Bob' cannot be a name: lower-case letters, digits and '-', at most 20"),
        ("../x\n", "error: '../x' cannot be a name: lower-case letters, digits and '-', at most 20"),
        ("ann\nbob\nann # again\n", "error: names are there twice: ann "),
        ("# nobody yet\n\n", "error: {} names nobody"),
    ],
)
def test_names_that_cannot_be_labs_are_refused(tmp_path: Path, names: str, error: str) -> None:
    path = tmp_path / "names"
    path.write_text(names)
    done = call("setup.sh", str(path))
    assert (done.returncode, done.stderr.splitlines()[0]) == (4, error.format(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="the scripts refuse others than root first")
def test_a_directory_of_others_is_neither_filled_nor_removed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("x")
    for script, words in (("setup.sh", ("1",)), ("teardown.sh", ())):
        assert call(script, "--dir", str(tmp_path), *words).returncode == 4
    assert list(tmp_path.iterdir()) == [precious]


@pytest.mark.skipif(os.geteuid() != 0, reason="the scripts refuse others than root first")
def test_taking_down_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    assert call("teardown.sh", "--dir", str(tmp_path / "none")).returncode == 0


def test_shellcheck_finds_nothing() -> None:
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not on the PATH")
    done = subprocess.run(
        [program, "-x", *(f"workshop/{path.name}" for path in sorted(WORKSHOP.glob("*.sh")))],
        cwd=WORKSHOP.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
