"""What is looked at under a fault, in which order, and what once more; with the looks themselves replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.model import Check
from conformance.reads import Reads
from conformance.registry import CHECKS
from harness.faults.model import Fault
from harness.model.records import Leg, Result
from harness.steps.faults import run as faults
from harness.steps.faults.run import Mutation
from harness.steps.suite.observe import Pace

CROSS, LOSS, PORTS, ADD, CONF = (
    "model.pod-pod.cross-node", "model.loss", "model.ports", "cni.add.result", "cni.conf.active",
)  # fmt: skip
GATES = {gate: True for check in CHECKS.values() for gate in check.gates}


def result(name: str, status: str, blocked_by: str = "") -> Result:
    legs = (Leg(leg="a>c/tcp", status="fail"),) if status == "fail" else ()
    facts = {"id": name, "title": "t", "level": "M", "status": status, "statement": "said", "legs": legs}
    return Result.model_validate({**facts, "blocked_by": blocked_by})


class Lab:
    """A lab whose checks say what they are told to, look by look."""

    def __init__(self) -> None:
        self.looks: list[tuple[str, ...]] = []
        self.says: dict[str, list[Result]] = {}
        self.injected = False
        self.under: list[bool] = []
        self.brief: list[bool] = []

    def look(self, mutation: Mutation, checks: Sequence[Check], pace: Pace, *, brief: bool = True) -> SimpleNamespace:
        del mutation, pace
        self.looks.append(tuple(check.id for check in checks))
        self.brief.append(brief)
        self.under.append(self.injected)
        return SimpleNamespace()

    def judge(self, context: object, chosen: Sequence[Check], checks: Mapping[str, Check]) -> list[Result]:
        del context, checks
        found = []
        for check in chosen:
            told = self.says.get(check.id, []) if self.injected else []
            found.append((told.pop(0) if len(told) > 1 else told[0]) if told else result(check.id, "pass"))
        return found

    @contextmanager
    def inject(self, fault: Fault, scene: object) -> Iterator[None]:
        del fault, scene
        self.injected = True
        yield
        self.injected = False


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = Lab()
    monkeypatch.setattr(faults, "_look", made.look)
    monkeypatch.setattr(faults, "judge_all", made.judge)
    monkeypatch.setattr(faults, "injected", made.inject)
    monkeypatch.setattr(faults, "absent", lambda *_: None)
    monkeypatch.setattr(faults, "reads", lambda *_: Reads(frozenset(), frozenset()))
    return made


def mutation(*rest: str) -> Mutation:
    green: Any = SimpleNamespace(gates=GATES, deviations={}, memo={})
    before = {name: result(name, "pass") for name in CHECKS}
    there: Any = None
    return Mutation(there, there, {"ipv4": there, "ipv6": there}, green, before, tuple(CHECKS[name] for name in rest))


def fault(*kills: str, **facts: Any) -> Fault:
    base = {"id": "F01", "name": "x", "title": "A fault", "inject": [{"at": "n1", "run": ["true"]}]}
    return Fault.model_validate({**base, "undo": [{"at": "n1", "run": ["true"]}], "kills": kills, **facts})


def test_plugins_are_called_last_and_what_is_as_it_should_be_is_looked_at_once(lab: Lab) -> None:
    lab.says = {CROSS: [result(CROSS, "fail")]}
    done = faults._mutate(mutation(CROSS, LOSS, ADD, CONF), fault(CROSS))
    assert (done.outcome, done.killed_by, done.judged) == ("killed", (CROSS,), 4)
    assert lab.looks == [(CROSS, LOSS), (ADD, CONF), (CROSS,)]
    assert lab.under == [True, True, False]
    assert [one.check for one in done.reds] == [CROSS]


def test_what_failed_in_haste_alone_is_looked_at_again_and_spared(lab: Lab) -> None:
    lab.says = {CROSS: [result(CROSS, "fail")], LOSS: [result(LOSS, "fail"), result(LOSS, "pass")]}
    done = faults._mutate(mutation(CROSS, LOSS, PORTS), fault(CROSS))
    assert (done.outcome, done.imprecise) == ("killed", ())
    assert lab.looks == [(CROSS, LOSS, PORTS), (LOSS,), (CROSS, LOSS)]


def test_what_was_blocked_by_a_doubtful_check_has_its_turn_too(lab: Lab) -> None:
    lab.says = {
        CROSS: [result(CROSS, "fail")],
        LOSS: [result(LOSS, "fail"), result(LOSS, "pass")],
        PORTS: [result(PORTS, "skip", LOSS), result(PORTS, "fail")],
    }
    done = faults._mutate(mutation(CROSS, LOSS, PORTS), fault(CROSS))
    assert lab.looks[1] == (LOSS, PORTS)
    assert (done.outcome, done.imprecise) == ("imprecise", (PORTS,))


def test_a_fault_that_nobody_sees_is_looked_for_twice(lab: Lab) -> None:
    done = faults._mutate(mutation(), fault(CROSS, spares=(LOSS,)))
    assert (done.outcome, done.survived) == ("survived", (CROSS,))
    assert lab.looks[:2] == [(CROSS, LOSS), (CROSS,)]
    assert lab.brief[:2] == [True, False], "the second look disturbs as a user would"
    assert (done.reds, done.judged) == ((), 0)


def test_what_a_fault_cannot_reach_is_left_out_and_told(lab: Lab) -> None:
    rule = {"at": "n1", "run": ["nft", "add", "rule", "inet", "kfault", "kfwd", "drop"]}
    lab.says = {CROSS: [result(CROSS, "fail")]}
    done = faults._mutate(mutation(CROSS, LOSS, ADD), fault(CROSS, inject=[rule], table=["n1"]))
    assert done.left_out == (ADD,)
    assert all(ADD not in look for look in lab.looks)
    named = faults._mutate(mutation(CROSS, ADD), fault(CROSS, inject=[rule], table=["n1"], spares=(ADD,)))
    assert named.left_out == ()


def test_a_check_without_a_verdict_is_told(lab: Lab) -> None:
    lab.says = {CROSS: [result(CROSS, "fail")], LOSS: [result(LOSS, "error")]}
    done = faults._mutate(mutation(CROSS, LOSS), fault(CROSS))
    assert (done.outcome, done.unjudged) == ("killed", (LOSS,))


def test_a_lab_that_is_not_green_again_says_nothing_of_the_suite(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.says = {CROSS: [result(CROSS, "fail")]}
    monkeypatch.setattr(faults, "_green_again", lambda *_: "did not pass after the fault was repaired: x")
    done = faults._mutate(mutation(CROSS), fault(CROSS))
    assert (done.outcome, done.killed_by) == ("error", (CROSS,))
