"""What is deleted from nodes is put back, whatever ends the look."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.cni.catalogue import variant
from harness.runner import CommandError, Completed
from harness.steps.suite.disruptive import heal
from harness.steps.suite.disruptive.heal import observe_heal
from harness.steps.suite.disruptive.measure import Disturbance
from tests.unit.conformance import simlab

RULE = '-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG'
FOREIGN = "-A POSTROUTING -j KUBE-POSTROUTING"
ROUTE = "10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink"
HOW = Disturbance(patience=0.05, unpromised=0.2)


class Kernel:
    """Rules and routes of a node.

    Args:
        heals: How many looks a deleted rule is away; None: for ever.
        stubborn: It refuses to delete rules.
    """

    where = ""

    def __init__(self, heals: int | None = 1, *, stubborn: bool = False) -> None:
        self.rules, self.routes = [FOREIGN, RULE], [ROUTE]
        self.heals, self.stubborn, self.away = heals, stubborn, 0
        self.deleted: list[str] = []

    def run(self, argv: Any, *, input: str | None = None, check: bool = True, **_: Any) -> Completed:  # noqa: A002
        words = tuple(map(str, argv))
        status, out = self._do(words, input or "")
        done = Completed(words, status, out, "refused" if status else "")
        if check and status:
            msg = "iptables-restore failed"
            raise CommandError(msg, done)
        return done

    def _do(self, words: tuple[str, ...], text: str) -> tuple[int, str]:
        if words[0] == "iptables-save":
            self._time_passes()
            chains = ":KUBE-POSTROUTING - [0:0]\n:FLANNEL-POSTRTG - [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
            return 0, f"*nat\n{chains}" + "".join(f"{rule}\n" for rule in self.rules) + "COMMIT\n"
        if words[0] == "iptables-restore":
            return self._restore(text.splitlines()[1])
        if words[:4] == ("ip", "-4", "route", "show"):
            return 0, "".join(f"{route}\n" for route in self.routes if route.startswith(words[4]))
        if words[:4] == ("ip", "-4", "route", "del"):
            self.deleted.append(words[4])
            self.routes.clear()
        if words[:4] == ("ip", "-4", "route", "replace"):
            self.routes.append(" ".join(words[4:]))
        return 0, ""

    def _time_passes(self) -> None:
        if RULE in self.rules or self.heals is None:
            return
        self.away += 1
        if self.away > self.heals:
            self.rules.append(RULE)

    def _restore(self, line: str) -> tuple[int, str]:
        rule = f"-A{line[2:]}"
        if line.startswith("-D"):
            if self.stubborn:
                return 1, ""
            self.rules.remove(rule)
            self.deleted.append(rule)
        else:
            self.rules.append(rule)
        return 0, ""


def suite(kernel: Kernel) -> Any:
    inventory = simlab.inventory()
    nodes = [SimpleNamespace(name="n1", runner=kernel)]
    attached = SimpleNamespace(variant=variant("flannel"), lab=SimpleNamespace(nodes=nodes))
    return SimpleNamespace(attached=attached, inventory=inventory, gates={"node": True, "agent": True})


def test_what_comes_back_and_what_does_not_is_told_and_all_is_there_again() -> None:
    kernel = Kernel()
    rules, routes = observe_heal(suite(kernel), HOW)
    assert [(thing.gone, thing.put_back) for thing in (*rules.things, *routes.things)] == [(True, False), (True, True)]
    assert rules.things[0].seconds is not None
    assert routes.things[0].seconds is None
    assert kernel.deleted == [RULE, "10.244.1.0/24"]
    assert sorted(kernel.rules) == sorted([FOREIGN, RULE])
    assert kernel.routes == [ROUTE]


def test_a_rule_that_nobody_repairs_is_put_back_once() -> None:
    kernel = Kernel(heals=None)
    rules, _ = observe_heal(suite(kernel), HOW)
    assert (rules.things[0].seconds, rules.things[0].put_back) == (None, True)
    assert kernel.rules == [FOREIGN, RULE]


def test_what_could_not_be_deleted_is_no_repair() -> None:
    rules, _ = observe_heal(suite(Kernel(stubborn=True)), HOW)
    (thing,) = rules.things
    assert (thing.gone, thing.seconds, thing.put_back) == (False, None, False)
    assert "iptables-restore failed" in thing.seen


def test_an_interrupt_finds_everything_there_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(heals=None)

    def interrupted(*_: object) -> None:
        assert kernel.rules == [FOREIGN]
        raise KeyboardInterrupt

    monkeypatch.setattr(heal, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        observe_heal(suite(kernel), HOW)
    assert kernel.rules == [FOREIGN, RULE]
    assert kernel.routes == [ROUTE]


def test_a_network_without_an_agent_is_left_alone() -> None:
    kernel = Kernel()
    there = suite(kernel)
    there.gates["agent"] = False
    assert observe_heal(there, HOW) == []
    assert kernel.deleted == []
