"""Which labs run, and which of them at the same time."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from harness.errors import BringUpError, UsageError
from harness.model import labfile
from harness.model.lab import ALONE, LabDefinition, Needs
from harness.model.records import LabStep
from harness.steps.labs.apply import schedule
from harness.steps.labs.choose import Ability, choose, lacking, list_labs, put_off

FLANNEL = Ability(frozenset({"br", "masq", "multi"}), 2, "flannel", "vxlan", "iptables")


def named(name: str, **fields: Any) -> LabDefinition:
    base = {"id": name, "title": "A lab", "chapter": "pods", "learn": "Little.", "minutes": 1}
    return LabDefinition.model_validate(
        {**base, "steps": [{"id": "one", "title": "One step", "run": ["ls"]}], **fields}
    )


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ({}, ""),
        ({"gates": ("br",), "nodes": 2, "wire": ("vxlan",)}, ""),
        ({"gates": ("br", "np", "kpf")}, "needs feature 'np', feature 'kpf'"),
        ({"nodes": 3}, "needs 3 nodes (there is 2)"),
        ({"wire": ("plain",)}, "needs wire format plain (here: vxlan)"),
        ({"proxy": ("nftables",)}, "needs kube-proxy mode nftables (here: iptables)"),
        ({"driver": ("cilium", "weave")}, "needs driver cilium or weave (here: flannel)"),
    ],
)
def test_what_a_lab_lacks_is_named(needs: dict[str, Any], reason: str) -> None:
    assert lacking(Needs.model_validate(needs), FLANNEL) == reason


def test_a_lab_may_ask_for_who_masquerades() -> None:
    needs = Needs(masquerade=("bpf",))
    assert (
        lacking(needs, replace(FLANNEL, masquerade="flannel-iptables"))
        == "needs masquerade by bpf (here: flannel-iptables)"
    )
    assert lacking(needs, replace(FLANNEL, masquerade="bpf")) == ""


@pytest.mark.parametrize("asked", [["one"], ["all"]])
def test_a_long_lab_runs_only_when_asked_for(asked: list[str]) -> None:
    lab = named("one", long=True)
    assert "cnilab apply one" in put_off(lab, [])
    assert put_off(lab, asked) == ""
    assert put_off(named("short"), []) == ""


def test_all_stands_for_every_lab() -> None:
    labs = [named("one"), named("two", long=True)]
    assert choose(labs, ["all"]) == choose(labs, []) == labs


@pytest.mark.parametrize("what", sorted(ALONE))
def test_a_lab_that_changes_what_all_need_meets_no_other(what: str) -> None:
    changes, idle = named("c", disturbs=[what]), named("i", watches=[])
    assert changes.conflicts(idle)
    assert idle.conflicts(changes)


def test_a_lab_that_stops_the_api_server_meets_no_other() -> None:
    """Every lab asks it for its pods: while it was frozen, whatever ran beside it had to wait, and broke off."""
    stops = {
        lab.id
        for lab in list_labs()
        for fault in lab.faults.values()
        if any("apiserver" in word for action in fault.inject for word in action.run)
    }
    assert "dns-records" in stops
    assert all(lab.alone for lab in list_labs() if lab.id in stops)


def test_an_unknown_lab_is_an_error_that_names_it() -> None:
    with pytest.raises(UsageError, match="nosuch"):
        choose([named("one")], ["one", "nosuch"])


def test_labs_conflict_when_one_disturbs_what_the_other_watches() -> None:
    breaks, looks, idle = named("b", disturbs=["dataplane"]), named("l", watches=["dataplane"]), named("i", watches=[])
    assert breaks.conflicts(looks)
    assert looks.conflicts(breaks)
    assert not breaks.conflicts(idle)
    assert not looks.conflicts(named("l2", watches=["dataplane"]))


def test_what_is_done_to_the_first_node_does_not_touch_the_last_unless_they_are_one() -> None:
    first, last = named("f", disturbs=["pod-set@first"]), named("l", watches=["pod-set@last"])
    assert not first.conflicts(last)
    assert first.conflicts(last, nodes=1)
    assert first.conflicts(named("w", watches=["pod-set"]))
    assert first.conflicts(named("w", watches=["pod-set@first"]))
    assert not first.conflicts(named("w", watches=["pod-creation@last"]))


@pytest.mark.parametrize("where", ["", "@first"])
def test_who_makes_or_removes_pods_does_not_meet_who_changes_the_nodes_plugins(where: str) -> None:
    """Such a pod had an address of the other plugin's range, or left its own address behind."""
    plugins = named("p", watches=[], disturbs=["pod-creation@first"])
    assert plugins.conflicts(named("m", watches=[], disturbs=[f"pod-set{where}"]))
    assert not plugins.conflicts(named("m", watches=[], disturbs=["pod-set@last"]))
    assert not named("a", watches=[], disturbs=["pod-set"]).conflicts(named("b", watches=[], disturbs=["pod-set"]))


MAKES_PODS = re.compile(r"^kubectl .*\b(run|scale|rollout restart (?!daemonset)|delete (pods?\b|daemonset|deployment))")
"""Commands that make pods, or remove some."""


def test_labs_that_make_or_remove_pods_say_so() -> None:
    makes = {
        lab.id: command
        for lab in list_labs()
        if not lab.bare
        for command in map(" ".join, _commands(lab))
        if MAKES_PODS.search(command)
    }
    assert {"netpol-enforcement", "ts-decision-tree", "dns-troubleshoot", "cni-call-trace"} <= set(makes)
    silent = {lab.id: makes[lab.id] for lab in list_labs() if lab.id in makes and not lab.changes_pods}
    assert silent == {}


def _commands(lab: LabDefinition) -> Iterator[Sequence[str]]:
    for fault in lab.faults.values():
        yield from (action.run for action in (*fault.inject, *fault.undo))
    yield from (step.run for step in lab.steps)


def test_labs_that_do_not_disturb_run_at_the_same_time() -> None:
    barrier = threading.Barrier(3, timeout=5)

    def one(_: LabDefinition) -> list[LabStep]:
        barrier.wait()
        return []

    assert list(schedule([named("a"), named("b"), named("c")], one, threading.Event())) == ["a", "b", "c"]


def test_no_two_labs_that_conflict_are_ever_seen_together() -> None:
    labs = [named(f"watch-{i}") for i in range(6)] + [named(f"break-{i}", disturbs=["dataplane"]) for i in range(3)]
    running: set[str] = set()
    wrong: list[set[str]] = []
    lock = threading.Lock()

    def one(lab: LabDefinition) -> list[LabStep]:
        with lock:
            running.add(lab.id)
            if any(name.startswith("break") for name in running) and len(running) > 1:
                wrong.append(set(running))
        threading.Event().wait(0.005)
        with lock:
            running.remove(lab.id)
        return []

    done = schedule(labs, one, threading.Event())
    assert wrong == []
    assert list(done) == [lab.id for lab in labs]


def test_labs_that_change_the_whole_network_come_last_and_alone() -> None:
    seen: list[str] = []

    def one(lab: LabDefinition) -> list[LabStep]:
        seen.append(lab.id)
        return []

    schedule([named("n", disturbs=["network"]), named("a", watches=[]), named("b")], one, threading.Event(), at_once=1)
    assert seen[-1] == "n"


def test_the_lab_that_excludes_most_others_starts_first() -> None:
    seen: list[str] = []

    def one(lab: LabDefinition) -> list[LabStep]:
        seen.append(lab.id)
        return []

    little = named("a-little", watches=[], disturbs=["policies"])
    much = named("much", watches=[], disturbs=["dataplane"])
    watching = [named(name, watches=["dataplane"]) for name in ("b", "c")]
    schedule([little, *watching, much], one, threading.Event(), at_once=1)
    assert seen == ["much", "a-little", "b", "c"]


def test_a_lab_that_breaks_does_not_end_the_others() -> None:
    def one(lab: LabDefinition) -> list[LabStep]:
        if lab.id == "bad":
            msg = "no node named n9"
            raise BringUpError(msg)
        return []

    done = schedule([named("bad"), named("good")], one, threading.Event())
    assert [(step.status, step.reason) for step in done["bad"]] == [("error", "no node named n9")]
    assert done["good"] == []


def test_an_interrupt_tells_the_labs_that_run() -> None:
    stop = threading.Event()
    seen: list[bool] = []

    def one(lab: LabDefinition) -> list[LabStep]:
        if lab.id == "bad":
            raise KeyboardInterrupt
        seen.append(stop.wait(5))
        return []

    with pytest.raises(KeyboardInterrupt):
        schedule([named("slow"), named("bad")], one, stop)
    assert seen == [True]


def test_all_labs_of_the_project_can_be_scheduled() -> None:
    seen: list[str] = []

    def one(lab: LabDefinition) -> list[LabStep]:
        seen.append(lab.id)
        return []

    labs = labfile.read_all()
    schedule(labs, one, threading.Event())
    assert sorted(seen) == [lab.id for lab in labs]
