"""`cnilab why` without a flow: what a terminal and a program get, and the exit code."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from harness.cli import app as entry
from harness.model.cause import Cause
from harness.steps.why.survey import Survey

CAUSE = Cause(key="n1/route/x", kind="route.missing", place="n1", sentence="n1 has no route to x", confidence="certain",
              look="ip route get x")  # fmt: skip


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Survey]:
    said = {"now": Survey((), ("shop/a",), ())}
    there = SimpleNamespace(spec=SimpleNamespace(name="hb"))
    monkeypatch.setattr("harness.cli.commands.why.attached", lambda _: there)
    monkeypatch.setattr("harness.steps.why.survey.survey", lambda *_: said["now"])
    return said


def test_nothing_wrong_is_said_with_what_was_looked_at(
    found: dict[str, Survey], capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["why"]) == 0
    said = "By what the kernels say, nothing is wrong between 1 pod, the nodes, Services and the outside."
    assert capsys.readouterr().out.strip() == said
    found["now"] = Survey((), ("shop/a", "shop/b"), ("n1",))
    assert entry.run(["why"]) == 0
    said = "between 2 pods, the nodes, Services and the outside. Programs of eBPF or queues decide on n1"
    assert said in capsys.readouterr().out


def test_what_is_wrong_is_said_with_the_command_that_shows_it(
    found: dict[str, Survey], capsys: pytest.CaptureFixture[str]
) -> None:
    found["now"] = Survey((CAUSE,), ("shop/a",), ("n2",))
    assert entry.run(["why"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["Cause 1: n1 has no route to x", "  see:     on n1: ip route get x"]
    assert lines[-1].startswith("Programs of eBPF or queues decide on n2")
    assert entry.run(["why", "-q", "-o", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["pods"], document["blind"]) == ("CauseList", ["shop/a"], ["n2"])
    assert document["items"][0]["key"] == "n1/route/x"


@pytest.mark.parametrize(
    ("words", "said"),
    [(["why", "a"], "'a' to where?"), (["why", "--size", "1400"], "--size and --ip-family are for a flow")],
)
@pytest.mark.usefixtures("found")
def test_half_a_flow_is_a_mistake(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(words) != 0
    assert said in capsys.readouterr().err
