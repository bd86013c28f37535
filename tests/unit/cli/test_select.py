"""Which labs there are, where they live, and whose they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from harness.cli.app import run
from harness.cli.context import Settings
from harness.cli.select import lives_in_machine
from harness.errors import NotYoursError, UsageError
from harness.model import labstate
from harness.model.labstate import LabDir, LabState
from harness.providers import registry


@pytest.fixture
def others(state: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, but labs are somebody else's: their names can be seen, and nothing in them. Tests may run as root."""

    def refuse(original: Any) -> Any:
        def guarded(self: Path, *words: Any, **options: Any) -> Any:
            if self.parent.parent == state / "labs":
                raise PermissionError(13, "Permission denied", str(self))
            return original(self, *words, **options)

        return guarded

    for name in ("is_dir", "read_text"):
        monkeypatch.setattr(Path, name, refuse(getattr(Path, name)))
    return state


def asked(state: Path, name: str) -> bool:
    with click.Context(click.Command("any"), obj=Settings(state=state)):
        return lives_in_machine(name)


def test_a_lab_lives_in_a_machine_when_it_has_one(state: Path) -> None:
    assert asked(state, "far")
    assert not asked(state, "near")
    assert not asked(state, "nowhere")
    with pytest.raises(UsageError, match="is not a valid name of a cluster"):
        asked(state, "../labs/far")


def test_where_a_lab_of_somebody_else_lives_is_not_guessed(others: Path) -> None:
    with pytest.raises(NotYoursError) as caught:
        asked(others, "far")
    assert str(caught.value).splitlines() == [
        f"you may not read the clusters of {others}",
        f"  cause: [Errno 13] Permission denied: '{others}/labs/far/vm'",
        f"  next:  run it as root: sudo cnilab --state '{others}' …",
    ]


def test_the_state_of_somebody_elses_lab_is_neither_damaged_nor_a_bug(others: Path) -> None:
    with pytest.raises(NotYoursError, match="you may not read"):
        labstate.read(LabDir(others, "far"), LabState)


def test_names_in_somebody_elses_directory_are_neither_listed_nor_free(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(NotYoursError):
        labstate.names(state)
    with pytest.raises(NotYoursError):
        labstate.require_free(LabDir(state, "new"))


def test_nothing_of_somebody_elses_lab_is_removed(others: Path) -> None:
    with pytest.raises(NotYoursError):
        registry.delete(LabDir(others, "near"))
    assert (others / "labs/near").exists()


@pytest.mark.parametrize("words", [["status"], ["status", "near"], ["report", "--cluster", "near"]])
def test_commands_say_how_to_see_labs_of_somebody_else(
    words: list[str], others: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == UsageError.exit_code
    assert f"sudo cnilab --state '{others}' …" in capsys.readouterr().err


def test_a_state_directory_that_cannot_be_entered_is_told_alike(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert run(["status"]) == UsageError.exit_code
    assert f"sudo cnilab --state '{state}' …" in capsys.readouterr().err
