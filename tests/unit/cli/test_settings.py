"""What the user sets before the command: by options or variables, and how it comes to those who need it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click
import pytest

from harness import timeouts
from harness.cli import app as entry
from harness.cli import inside
from harness.cli.context import Settings, settings

NAMES = ("STATE", "CACHE", "TIMEOUT_SCALE", "REGISTRY_MIRROR")

MIRRORS = {"quay.io": "https://a.example.org", "ghcr.io": "https://b.example.org/v2/x"}


class Look:
    """A command that keeps what it sees."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.factor = 0.0
        self.variables: dict[str, str] = {}

    def command(self, name: str) -> click.Command:
        @click.command(name)
        def command() -> None:
            self.settings = settings()
            self.factor = timeouts.factor()
            self.variables = dict(inside.program().variables)

        return command


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Look:
    for name in NAMES:
        monkeypatch.delenv(f"CNILAB_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    found = Look()
    monkeypatch.setattr(entry, "find", found.command)
    return found


@pytest.fixture
def said(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path / "the state", cache=tmp_path / "cache", timeout_scale=2.5, mirrors=MIRRORS)


def variables(said: Settings) -> dict[str, str]:
    mirrors = " ".join(f"{host}={url}" for host, url in said.mirrors.items())
    return dict(zip(NAMES, (str(said.state), str(said.cache), f"{said.timeout_scale:g}", mirrors), strict=True))


def test_variables_of_the_user_are_heard(look: Look, said: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables(said).items():
        monkeypatch.setenv(f"CNILAB_{name}", value)
    assert entry.run(["status"]) == 0
    assert (look.settings, look.factor) == (said, 2.5)


def test_options_win_over_variables(look: Look, said: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(said, state=Path("/s"), cache=Path("/c"), timeout_scale=9.0, mirrors={"x.io": "https://x"})
    for name, value in variables(other).items():
        monkeypatch.setenv(f"CNILAB_{name}", value)
    assert entry.run([*said.options, "status"]) == 0
    assert (look.settings, look.factor) == (said, 2.5)


def test_a_program_that_is_started_is_given_them_as_options(look: Look, said: Settings) -> None:
    said = replace(said, quiet=True, verbose=2)
    assert entry.run([*said.options, "status"]) == 0
    options = look.settings.options
    assert entry.run(["status"]) == 0
    assert look.settings != said
    assert entry.run([*options, "status"]) == 0
    assert look.settings == said


def test_a_program_in_a_machine_is_given_the_mirrors(look: Look, said: Settings) -> None:
    assert entry.run([*said.options, "status"]) == 0
    assert look.variables == {"CNILAB_REGISTRY_MIRROR": variables(said)["REGISTRY_MIRROR"]}
    assert entry.run(["status"]) == 0
    assert look.variables == {"CNILAB_REGISTRY_MIRROR": ""}


def test_they_hold_for_one_command_and_leave_nothing_behind(look: Look, said: Settings) -> None:
    before = dict(os.environ)
    assert entry.run([*said.options, "status"]) == 0
    assert dict(os.environ) == before
    assert (look.factor, timeouts.factor()) == (2.5, 1.0)


@pytest.mark.parametrize("how", ["option", "variable"])
def test_what_nobody_expected_is_written_below_the_state_directory(
    how: str, said: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(name: str) -> click.Command:
        raise RuntimeError(name)

    monkeypatch.setattr(entry, "find", broken)
    monkeypatch.setenv("CNILAB_STATE", str(said.state) if how == "variable" else str(tmp_path))
    assert entry.run([*([f"--state={said.state}"] if how == "option" else []), "status"]) == 3
    (log,) = (said.state / "log").glob("crash-*.log")
    assert str(log) in capsys.readouterr().err
