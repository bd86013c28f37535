"""`cnilab why` without a flow: what a terminal and a program get, and the exit code."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from harness.cli import app as entry
from harness.model.cause import Cause
from harness.steps.existing.why import Surveyed
from harness.steps.why.survey import Survey

CAUSE = Cause(key="n1/route/x", kind="route.missing", place="n1", sentence="n1 has no route to x", confidence="certain",
              look="ip route get x")  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["--pods-only"], "--pods-only allows none", 4),
        (["--cluster", "hb"], "--cluster is for clusters that cnilab made", 4),
        (["a"], "'a' to where?", 4),
        (["a", "b", "sctp/1"], "is no protocol and port", 4),
        (["--sample", "21"], "a sample of 21 nodes is not possible", 4),
    ],
)
def test_what_makes_no_sense_on_an_existing_cluster_is_said_before_it_is_asked(
    words: list[str], said: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["why", "--kubeconfig", "/nonexistent", *words]) == code
    assert said in capsys.readouterr().err


def test_options_of_an_existing_cluster_need_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["why", "--sample", "3"]) == 4
    assert "--sample needs --kubeconfig" in capsys.readouterr().err


def test_an_existing_cluster_is_told_with_what_is_unknown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = Survey((), ("shop/a", "shop/b"), (), ways=40, ended=3, unknown=("n1 sends it away",))
    answer = Surveyed(seen, ("n1",), {"n2": "it runs mips"})
    there = SimpleNamespace(access=SimpleNamespace(context="staging"))
    monkeypatch.setattr("harness.steps.existing.why.examined", lambda _: there)
    monkeypatch.setattr("harness.steps.existing.why.survey_existing", lambda *_, **__: answer)
    assert entry.run(["why", "--kubeconfig", "/k"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "By what the kernels say, nothing is wrong between 2 pods, 1 node and Services: 40 ways were followed.",
        "3 of 40 ways could not be followed to their end.",
        "  unknown: n1 sends it away",
        "  left out: n2: it runs mips",
    ]
    assert entry.run(["why", "--kubeconfig", "/k", "-q", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["cluster"], document["nodes"], document["unknown"]) == ("staging", ["n1"], ["n1 sends it away"])
    assert (document["ways"], document["ended"], document["leftOut"]) == (40, 3, {"n2": "it runs mips"})


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
    [(["why", "a"], "'a' to where?"), (["why", "--size", "1400"], "--size, --ip-family and --trace are for a flow")],
)
@pytest.mark.usefixtures("found")
def test_half_a_flow_is_a_mistake(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(words) != 0
    assert said in capsys.readouterr().err
