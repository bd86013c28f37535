"""Progress lines on stderr."""

from __future__ import annotations

import time
from contextlib import suppress

import click
import pytest

from harness.cli import progress as module
from harness.cli.context import Settings
from harness.cli.progress import line, progress
from harness.model.journal import Journal
from harness.model.records import Event


def event(**facts: object) -> Event:
    return Event.model_validate({"at": "", "step": "up.cluster", "state": "ok", "title": "API ready", **facts})


def test_a_step_that_ended_is_one_line() -> None:
    assert line(event(seconds=1.26), 3.0, color=False) == "[   3.0 s] API ready (1.3 s)"


def test_a_failed_step_says_why_in_one_line() -> None:
    text = line(event(state="failed", seconds=2.0, detail={"error": "no etcd\nmore"}), 3.0, color=False)
    assert text == "[   3.0 s] API ready: FAILED: no etcd (2.0 s)"


def test_a_step_whose_findings_are_bad_says_which() -> None:
    text = line(event(seconds=2.0, detail={"missed": "Kill pause: waited 60 s"}), 3.0, color=False)
    assert text == "[   3.0 s] API ready: FAILED: Kill pause: waited 60 s (2.0 s)"


def run(settings: Settings, capsys: pytest.CaptureFixture[str]) -> str:
    with click.Context(click.Command("x"), obj=settings).scope(), progress() as listener:
        journal = Journal(None, listener)
        with journal.step("up", "bring up"):
            journal.note("up.a.b.c.d", "a detail")
        with suppress(ValueError), journal.step("up.a.b.c.d", "deep step"):
            raise ValueError
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_details_need_verbose_but_failures_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(Settings(), capsys)
    assert "bring up" in text
    assert "a detail" not in text
    assert "deep step: FAILED" in text
    assert "a detail" in run(Settings(verbose=1), capsys)


def test_a_step_that_two_threads_do_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with click.Context(click.Command("x"), obj=Settings()).scope(), progress() as listener:
        journal = Journal(None, listener)
        with journal.step("up.build", "building"), journal.step("up.build", "building"):
            pass
        with journal.step("up.build", "building"):
            pass
    assert capsys.readouterr().err.count("building") == 2


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Settings(quiet=True), capsys) == ""


def test_a_long_step_says_that_it_is_still_running(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.02)
    text = ""
    context = click.Context(click.Command("x"), obj=Settings())
    with context.scope(), progress() as listener, Journal(None, listener).step("up.build", "building"):
        for _ in range(500):
            text += capsys.readouterr().err
            if "still running" in text:
                break
            time.sleep(0.01)
    assert "building: still running" in text
