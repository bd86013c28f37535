"""Machines without Kubernetes on the command line: up, apply without a cluster, and what refuses them."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import app as entry
from harness.cni import catalogue
from harness.errors import BringUpError
from harness.model.records import LabStep
from harness.model.run import RunDir
from harness.model.spec import BARE, LabSpec
from tests.unit.cli.test_commands import lab, places

__all__ = ["places"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[LabSpec]:
    """Records what is brought up; makes a state directory as the real one does."""
    specs: list[LabSpec] = []

    def fake(spec: LabSpec, variant: Any, **rest: Any) -> object:
        assert not variant.kubernetes
        specs.append(spec)
        layout = lab(rest["state"].parent, spec.name, run=str(rest["run"].path))
        return SimpleNamespace(lab=SimpleNamespace(kubeconfig=layout.kubeconfig))

    monkeypatch.setattr("harness.steps.lifecycle.up.bring_up", fake)
    monkeypatch.setattr("harness.steps.doctor.examine.require", lambda *_, **__: [])
    return specs


def test_up_tells_how_to_get_in_and_prints_no_kubeconfig(
    made: list[LabSpec], places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["up", "bare"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "It has no Kubernetes. 'cnilab exec n1' starts a shell" in captured.err
    assert RunDir(places / ".runs/latest").info().kubernetes == ""
    assert (made[0].families, str(made[0].node_address("n2"))) == (("ipv4",), "192.168.1.12")


def test_another_provider_has_no_such_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["up", "bare", "--provider", "kind"]) == 4
    assert "the provider kind has no machines without Kubernetes" in capsys.readouterr().err


def test_what_would_be_made_has_machines_and_no_manifests(places: Path) -> None:
    assert entry.run(["render", "bare", "--to", str(places / "out")]) == 0
    files = {str(path.relative_to(places / "out")) for path in (places / "out").rglob("*") if path.is_file()}
    assert files == {"spec.yaml", "machines/n1/sysctl.conf", "machines/n2/sysctl.conf"}
    assert "net/ipv4/ip_forward = 0" in (places / "out/machines/n1/sysctl.conf").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words", [["test"], ["why"], ["trace", "a", "b"], ["switch", "cilium"], ["fault", "list"], ["exec", "pod", "a"]]
)
def test_what_needs_a_cluster_says_so(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    lab(places, "hands")
    there = SimpleNamespace(variant=catalogue.variant(BARE), lab=SimpleNamespace(name="hands"))
    monkeypatch.setattr("harness.steps.lifecycle.attach.attach", lambda *_: there)
    if words == ["fault", "list"]:
        words = ["fault", "inject", "F01"]
    assert entry.run(words) == 4
    assert "'hands' has no Kubernetes, and no pod network" in capsys.readouterr().err


class Labs:
    """Labs without a cluster that can be applied."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, places: Path) -> None:
        self.names: list[str] = []
        self.removed: list[str] = []
        self.status = "pass"
        monkeypatch.setattr("harness.steps.labs.choose.bare_ids", lambda ids: tuple(one for one in ids if one != "c"))
        monkeypatch.setattr("harness.steps.labs.apply.run_labs", self.run)
        monkeypatch.setattr("harness.cli.commands.up.temporary", self.temporary)
        self.run_dir = RunDir(places / "run")
        self.run_dir.path.mkdir()

    @contextmanager
    def temporary(self, target: str, name: str) -> Any:
        self.names.append(name)
        try:
            variant = catalogue.variant(target)
            yield SimpleNamespace(variant=variant, run=None, lab=SimpleNamespace(name=name), spec=LabSpec())
        finally:
            self.removed.append(name)

    def run(self, there: Any, run: Any, journal: Any, *, only: Any) -> list[LabStep]:
        del there, run, journal
        if self.status == "broken":
            msg = "no machines"
            raise BringUpError(msg)
        return [LabStep(lab=one, step="s", title="S", place="n1", status=self.status) for one in only]


@pytest.fixture
def labs(monkeypatch: pytest.MonkeyPatch, places: Path) -> Labs:
    monkeypatch.setattr("harness.cli.runs.require_run", lambda _: RunDir(places / "run"))
    monkeypatch.setattr("harness.cli.runs.finish", lambda *_, **__: None)
    return Labs(monkeypatch, places)


@pytest.mark.parametrize(("status", "code"), [("pass", 0), ("fail", 1), ("broken", 11)])
def test_labs_without_a_cluster_get_machines_that_are_removed_whatever_happens(
    labs: Labs, capsys: pytest.CaptureFixture[str], status: str, code: int
) -> None:
    labs.status = status
    assert entry.run(["apply", "a", "b"]) == code
    assert labs.names == labs.removed
    assert len(labs.names) == 1
    if status == "pass":
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["a", "b"]


def test_labs_of_both_kinds_need_two_commands(labs: Labs, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["apply", "a", "c"]) == 4
    assert "a: needs no cluster, and the other labs do" in capsys.readouterr().err
    assert labs.names == []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.model.lab import LabDefinition  # noqa: PLC0415

    questions = [
        {"ask": "How many?", "answer": ["2", "two"], "because": "One and one."},
        {"ask": "Which end?", "answer": ["none"], "because": "They are one."},
    ]
    facts = {"title": "A lab", "chapter": "containers", "learn": "Little.", "minutes": 1, "bare": True}
    step = {"id": "one", "title": "Step one", "on": "node/n1", "run": ["true"]}
    found = LabDefinition.model_validate({**facts, "id": "x", "steps": [step], "questions": questions})
    mute = LabDefinition.model_validate({**facts, "id": "mute", "steps": [step]})
    monkeypatch.setattr("harness.steps.labs.choose.list_labs", lambda: [found, mute])


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(("typed", "code", "said"), [("Two\nnone\n", 0, "2 of 2"), ("3\n\n", 1, "0 of 2")])
def test_a_quiz_asks_and_checks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, code: int, said: str
) -> None:
    import io  # noqa: PLC0415

    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert entry.run(["labs", "quiz", "x"]) == code
    out = capsys.readouterr().out
    assert "1. How many?" in out
    assert f"{said} right" in out
    assert ("No, the answer is: 2. One and one." in out) == bool(code)


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("words", "said"),
    [(["quiz", "mute"], "has no questions"), (["quiz", "all"], "name one lab"), (["show", "y"], "no lab with the id")],
)
def test_a_lab_that_is_not_there_or_has_no_questions(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert entry.run(["labs", *words]) == 4
    assert said in capsys.readouterr().err


def test_the_text_of_a_lab_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["labs", "show", "pod-model"]) == 0
    assert capsys.readouterr().out.startswith("# ")
