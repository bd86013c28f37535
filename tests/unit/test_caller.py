"""What the caller's locale, encodings and umask must not reach."""

from __future__ import annotations

import locale
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import caller
from harness.ansible import play
from harness.model.journal import Journal
from harness.runner import HostRunner

SPEAKS = """
import os, sys
from harness import caller
caller.settle()
print("→ ä …")
print(sys.argv[1], sys.getfilesystemencoding(), sys.stdout.encoding, os.environ["LC_ALL"])
print(sorted(name for name in os.environ if name.startswith("LC_") or name in {"LANG", "LANGUAGE", "PYTHONIOENCODING"}))
"""

LOCALES = {
    "C": {"LC_ALL": "C"},
    "POSIX": {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"},
    "old Python's way": {"LC_ALL": "C", "PYTHONUTF8": "0"},
    "not there": {"LC_ALL": "xx_YY.ISO-8859-1", "LANGUAGE": "de:fr"},
    "only some": {"LANG": "de_DE.UTF-8", "LC_NUMERIC": "de_DE.UTF-8"},
    "other encoding": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"},
}


def environ(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LC_") and key != "LANG"}
    return {**kept, **more}


@pytest.mark.parametrize("name", LOCALES)
def test_whatever_the_locale_it_speaks_utf8_and_so_do_programs_that_it_starts(name: str, tmp_path: Path) -> None:
    script = tmp_path / "speaks.py"
    script.write_text(SPEAKS, encoding="utf-8")
    argv = [sys.executable, str(script), "käse"]
    done = subprocess.run(argv, env=environ(**LOCALES[name]), capture_output=True, check=True)
    text = done.stdout.decode("utf-8")
    assert text.splitlines() == ["→ ä …", f"käse utf-8 utf-8 {caller.utf8_locale()}", "['LC_ALL']"]
    assert done.stderr == b""


def test_a_runner_gives_its_own_language_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "de")
    monkeypatch.setenv("LC_NUMERIC", "de_DE.UTF-8")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    lines = HostRunner().run(["env"], env={"MINE": "1"}).stdout.splitlines()
    said = {line.partition("=")[0]: line.partition("=")[2] for line in lines}
    assert said["LC_ALL"] == caller.utf8_locale()
    assert said["MINE"] == "1"
    assert not {"LANGUAGE", "LC_NUMERIC", "LANG"} & set(said)


def test_the_first_locale_that_the_machine_has_is_taken_and_ours_stays() -> None:
    before = locale.setlocale(locale.LC_CTYPE)
    assert caller.utf8_locale(("xx_YY.UTF-8", "C.UTF-8")) == "C.UTF-8"
    assert caller.utf8_locale(("xx_YY.UTF-8",)) == "C"
    assert locale.setlocale(locale.LC_CTYPE) == before


def test_ansible_is_not_started_where_it_would_refuse_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(caller, "utf8_locale", lambda: "C")
    with pytest.raises(play.PlaybookError, match="no locale with UTF-8"):
        play.play("labs.yaml", "", tmp_path, Journal())


def test_ansible_gets_a_language_of_its_own(tmp_path: Path) -> None:
    assert play.settings(tmp_path)["LC_ALL"] == caller.utf8_locale()


@pytest.mark.parametrize("mask", [0o077, 0o000, 0o027])
def test_the_umask_of_the_caller_reaches_nothing_that_is_made(mask: int, tmp_path: Path) -> None:
    state = tmp_path / "state"
    words = [sys.executable, "-m", "harness.cli.main", "--state", str(state), "render", "--to", str(tmp_path / "out")]
    subprocess.run(words, env=environ(), capture_output=True, check=True, umask=mask)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o644}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*") if path.is_dir()} <= {0o755}
