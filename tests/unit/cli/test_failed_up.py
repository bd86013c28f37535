"""A bring-up that fails ends with what is wrong with the network, if there is one already."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import app as entry
from harness.errors import BringUpError, UsageError
from harness.model.cause import Cause
from harness.model.journal import Journal
from harness.model.run import RunDir

WAITED, GONE = "the cluster's DNS does not answer", "there is no cluster"

CAUSE = Cause(
    key="n1/route/10.244.1.0/24",
    kind="route.missing",
    place="n1",
    sentence="n1 has no route to 10.244.1.0/24",
    confidence="certain",
    look="ip route get 10.244.1.2",
)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CNILAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("stage", "told"), [("up.nodes", True), ("up.api", False)])
def test_a_network_that_does_not_come_up_is_explained_once_there_are_nodes(
    stage: str, told: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, journal: Journal, **__: object) -> None:
        with journal.step(stage, "a part that is done"):
            pass
        raise BringUpError(WAITED)

    monkeypatch.setattr("harness.steps.lifecycle.up.bring_up", fails)
    monkeypatch.setattr("harness.steps.lifecycle.attach.attach", lambda *_: None)
    monkeypatch.setattr("harness.steps.why.survey.after", lambda *_: (CAUSE,))
    words = ["up", "flannel", "--name", "dumb", "--skip-preflight", "--run-dir", "run"]
    assert entry.run(["--state", str(tmp_path / "state"), *words]) == 11
    printed = capsys.readouterr()
    assert printed.out == ""
    assert (
        "Cause 1: n1 has no route to 10.244.1.0/24\n  see:     on n1: ip route get 10.244.1.2" in printed.err
    ) is told
    assert RunDir(tmp_path / "run").causes() == ([CAUSE] if told else [])


def test_what_goes_wrong_while_the_cause_is_looked_for_does_not_hide_why_it_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, journal: Journal, **__: object) -> None:
        with journal.step("up.nodes", "nodes"):
            pass
        raise BringUpError(WAITED)

    def gone(*_: object) -> None:
        raise UsageError(GONE)

    monkeypatch.setattr("harness.steps.lifecycle.up.bring_up", fails)
    monkeypatch.setattr("harness.steps.lifecycle.attach.attach", gone)
    assert entry.run(["--state", str(tmp_path / "state"), "up", "flannel", "--skip-preflight"]) == 11
    said = capsys.readouterr().err
    assert f"could not look for the cause: {GONE}" in said
    assert WAITED in said
