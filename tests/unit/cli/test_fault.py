"""`cnilab fault`, with the steps below replaced: what it says, prints and returns, and what it keeps secret."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import app as entry
from harness.errors import CnilabError, UsageError
from harness.faults.catalogue import faults, find
from harness.model import injection
from harness.model.injection import Injection, Step, Where
from harness.model.labstate import LabDir, LabState, write
from harness.model.spec import LabSpec
from harness.steps.faults.hands import Wanted
from harness.steps.faults.ledger import TakenBack

STEP = Step(where=Where(name="n1", kind="node"), run=("sysctl", "-qw", "net.ipv4.ip_forward=1"))
IN_POD = STEP.model_copy(update={"where": Where(name="a", kind="pod", namespace="cnilab-probe", pod="a")})


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CNILAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CNILAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def injected(word: str, *, secret: bool = False) -> Injection:
    fault = find(word)
    facts = {"fault": fault.id, "name": fault.name, "title": fault.title, "family": fault.family}
    return Injection.model_validate({**facts, "began": "2026-01-01T00:00:00Z", "secret": secret, "did": [STEP]})


class Steps:
    """Stands for the steps: remembers what was wanted, and says what a test wants it to."""

    def __init__(self) -> None:
        self.wanted: list[Wanted] = []
        self.cleared: list[tuple[list[str], bool]] = []
        self.outcomes: list[TakenBack] = []
        self.awake: dict[str, list[str]] = {}

    def inject(self, _: object, wanted: Wanted, __: object) -> list[Injection]:
        self.wanted.append(wanted)
        return [injected(one.id, secret=wanted.secret) for one in wanted.faults or (find("F13"),)]

    def clear(self, _: object, only: list[Any], __: object, *, forget: bool) -> list[TakenBack]:
        self.cleared.append(([one.id for one in only], forget))
        return self.outcomes


@pytest.fixture
def hb(places: Path) -> LabDir:
    place = LabDir(places / "state", "hb")
    spec = LabSpec(name="hb", nodes=2)
    write(place, LabState(name="hb", created="2026-01-01T00:00:00Z", spec=spec, owner=os.getpid(), ready=False))
    return place


@pytest.fixture
def steps(hb: LabDir, monkeypatch: pytest.MonkeyPatch) -> Steps:
    """The cluster 'hb' is up."""
    fake = Steps()
    there = SimpleNamespace(spec=SimpleNamespace(name="hb"), state=hb.state)
    monkeypatch.setattr("harness.cli.commands.fault.attached", lambda _: there)
    monkeypatch.setattr("harness.steps.faults.hands.inject_faults", fake.inject)
    monkeypatch.setattr("harness.steps.faults.hands.clear_faults", fake.clear)
    lacking = {one.id: ["three"] if one.id == "F02" else [] for one in faults()}
    monkeypatch.setattr("harness.steps.faults.hands.able", lambda _: lacking)
    monkeypatch.setattr("harness.steps.faults.hands.awake", lambda _: fake.awake)
    return fake


def rows(text: str) -> list[list[str]]:
    return [re.split(r" {3,}", line.strip()) for line in text.splitlines()]


def test_without_a_cluster_the_catalogue_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["fault", "list", "-o", "wide"]) == 0
    said = capsys.readouterr()
    table = rows(said.out)
    assert table[0] == ["ID", "NAME", "FAMILY", "WHAT", "KILLS"]
    assert len(table) == len(faults()) + 1
    assert table[5][:4] == ["F05", "fwd-off", "ipv4", "a node does not forward"]
    assert table[5][4].startswith("model.pod-pod.cross-node, model.pod-node.remote")
    assert said.err == ""
    assert entry.run(["fault", "list", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "FaultList"
    assert set(document["items"][0]) == {"id", "name", "title", "family", "needs", "kills", "spares"}
    assert entry.run(["fault", "list", "-c", "nobody"]) == 11


def test_with_a_cluster_the_list_says_what_can_be_shown_and_what_is_injected(
    steps: Steps, hb: LabDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert steps
    injection.write(hb, [injected("F05"), injected("F13", secret=True)])
    assert entry.run(["fault", "list", "-o", "wide"]) == 0
    said = capsys.readouterr()
    here = {row[0]: row[3] for row in rows(said.out)}
    assert [here[one] for one in ("F01", "F02", "F05", "F13")] == ["yes", "no", "injected", "yes"]
    assert "three (the cluster has three nodes or more)" in said.out
    assert said.err == "Injected in 'hb': F05 fwd-off, and 1 secret fault.\n"
    assert entry.run(["fault", "list", "-q", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["cluster"], document["secret"]) == ("hb", 1)
    items = {item["id"]: item for item in document["items"]}
    assert [items["F02"][key] for key in ("here", "lacks", "injected")] == [False, ["three"], False]
    assert [one for one in items if items[one]["injected"]] == ["F05"]


def test_the_list_says_which_faults_may_be_mended_by_a_program_that_runs_again(
    steps: Steps, hb: LabDir, capsys: pytest.CaptureFixture[str]
) -> None:
    injection.write(hb, [injected("F05"), injected("F122"), injected("F13", secret=True)])
    steps.awake = {"F122": ["n1", "n2"], "F13": ["n1"]}
    assert entry.run(["fault", "list"]) == 0
    assert capsys.readouterr().err.splitlines()[1:] == [
        "F122 stopped a program on n1, n2 that runs again: it may have mended what was broken.",
        "A secret fault stopped a program on n1 that runs again: it may have mended what was broken.",
    ]
    assert entry.run(["fault", "list", "-q", "-o", "json"]) == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert {item["id"]: item["awake"] for item in items if item["awake"]} == {"F122": ["n1", "n2"]}


def test_the_list_without_a_named_cluster_says_why_it_is_only_the_catalogue(
    hb: LabDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> None:
        msg = "cluster 'hb' is not up"
        raise CnilabError(msg)

    monkeypatch.setattr("harness.cli.commands.fault.attached", broken)
    assert entry.run(["fault", "list"]) == 0
    assert capsys.readouterr().err == "Only the catalogue is shown: cluster 'hb' is not up.\n"
    (hb.state / "labs/other").mkdir()
    assert entry.run(["fault", "list"]) == 0
    assert "there are several clusters. Name one with --cluster." in capsys.readouterr().err


def test_what_was_injected_is_said_in_a_sentence(steps: Steps, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["fault", "inject", "fwd-off", "F13", "F05"]) == 0
    said = capsys.readouterr()
    assert [one.id for one in steps.wanted[0].faults] == ["F05", "F13"]
    assert [row[:2] for row in rows(said.out)] == [["FAULT", "NAME"], ["F05", "fwd-off"], ["F13", "port-drop"]]
    assert "F05 fwd-off was injected: a node does not forward.\n" in said.err
    assert entry.run(["fault", "inject", "F05", "-q", "-o", "json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert item["commands"] == [{"where": "n1", "command": ["sysctl", "-qw", "net.ipv4.ip_forward=1"]}]


@pytest.mark.parametrize("output", ["table", "wide", "json", "yaml", "name"])
def test_a_secret_is_kept(output: str, steps: Steps, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["fault", "inject", "--random", "--seed", "7", "--secret", "-o", output]) == 0
    said = capsys.readouterr()
    assert (steps.wanted[0].faults, steps.wanted[0].seed, steps.wanted[0].secret) == ((), 7, True)
    assert "One fault was injected." in said.err
    fault = find("F13")
    words = (fault.id, fault.name, fault.title, "sysctl", "7")
    assert [word for word in words if word in said.out + said.err] == []


def test_a_choice_by_chance_tells_its_seed(steps: Steps, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["fault", "inject", "--random", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == steps.wanted[0].seed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name at least one fault, or give --random"),
        (["F05", "--random"], "name faults or give --random, but not both"),
        (["F05", "--seed", "1"], "--seed needs --random"),
        (["fwd-of"], "did you mean F05 fwd-off"),
        (["../x"], "there is no fault named '../x'"),
    ],
)
def test_a_mistake_is_told_before_the_cluster_is_touched(
    words: list[str], told: str, steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["fault", "inject", *words]) == UsageError.exit_code
    assert told in capsys.readouterr().err
    assert steps.wanted == []


def test_clearing_tells_what_a_secret_was(steps: Steps, capsys: pytest.CaptureFixture[str]) -> None:
    item = injected("F13", secret=True)
    steps.outcomes = [TakenBack(item, ran=[STEP], moot=[IN_POD], doubtful=[STEP], shared=[STEP])]
    assert entry.run(["fault", "clear"]) == 0
    said = capsys.readouterr()
    assert rows(said.out)[1][:4] == ["F13", "port-drop", "ok", "1"]
    assert "F13 port-drop: pod cnilab-probe/a is gone, and what was done in it.\n" in said.err
    assert "perhaps there was nothing to undo on n1: 'sysctl -qw net.ipv4.ip_forward=1' failed" in said.err
    assert steps.cleared == [([], False)]
    assert entry.run(["fault", "clear", "port-drop", "--forget", "-o", "json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)["items"]
    assert (facts["secret"], len(facts["ran"]), facts["left"]) == (True, 1, [])
    assert steps.cleared[-1] == (["F13"], True)


def test_clearing_nothing_is_no_error(steps: Steps, capsys: pytest.CaptureFixture[str]) -> None:
    assert steps.outcomes == []
    assert entry.run(["fault", "clear"]) == 0
    assert entry.run(["fault", "clear", "F05"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "Nothing is injected.\nNot injected: F05 fwd-off.\n")


def test_what_could_not_be_undone_has_an_exit_code_of_its_own(steps: Steps, capsys: pytest.CaptureFixture[str]) -> None:
    error = CnilabError("sysctl failed with exit status 1", cause="no such file", where="nsenter … sysctl")
    steps.outcomes = [TakenBack(injected("F05"), failures=[(STEP, error)])]
    assert entry.run(["fault", "clear"]) == 12
    said = capsys.readouterr()
    assert rows(said.out)[1][2] == "partial"
    assert "  cause: F05: n1: sysctl -qw net.ipv4.ip_forward=1: no such file\n" in said.err
    assert "with --forget to try no more" in said.err
    assert entry.run(["fault", "clear", "--forget"]) == 0


def test_the_status_says_that_something_is_injected(hb: LabDir, capsys: pytest.CaptureFixture[str]) -> None:
    def shown() -> str:
        assert entry.run(["status"]) == 0
        return rows(capsys.readouterr().out)[1][-1]

    assert shown() == "-"
    injection.write(hb, [injected("F05"), injected("F13", secret=True)])
    assert shown() == "F05,1 secret"
    assert entry.run(["status", "-o", "json"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text)["items"][0]["faults"] == {"injected": ["F05"], "secret": 1}
    assert "F13" not in text
    (hb.path / "faults.json").write_text("{")
    assert shown() == "?"
