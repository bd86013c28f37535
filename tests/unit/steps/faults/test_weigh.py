"""Who noticed a fault: killed, survived, imprecise, and when a lab cannot show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from conformance.registry import CHECKS
from harness.faults.catalogue import choose
from harness.faults.model import Also, Fault
from harness.model.records import FaultRun, Leg, Result
from harness.steps.faults.bounds import aloof, beyond, can_fail
from harness.steps.faults.names import masquerade_rule
from harness.steps.faults.scene import SITUATIONS, absent, missing
from harness.steps.faults.weigh import Scope, Weighed, again, reds, seen
from harness.steps.faults.weigh import weigh as held_against
from tests.unit.conformance import simlab

GATES = {"multi": True}


def fault(kills: tuple[str, ...], spares: tuple[str, ...] = (), **facts: Any) -> Fault:
    return Fault(id="F00", name="x", title="A fault", kills=kills, spares=spares, inject=(), **facts)


def weigh(of: Fault, results: Mapping[str, Result], gates: Mapping[str, bool]) -> Weighed:
    return held_against(of, seen(results.values()), Scope(gates))


def result(name: str, status: str, *failed: str) -> Result:
    legs = tuple(Leg(leg=leg, status="fail") for leg in failed)
    facts = {"id": name, "title": "t", "level": "M", "status": status, "statement": f"{name} said so", "legs": legs}
    return Result.model_validate(facts)


CROSS, ONE_WAY = "model.pod-pod.cross-node", "model.one-way"


def test_a_fault_is_killed_when_every_target_failed_and_nobody_else() -> None:
    verdict = weigh(
        fault((CROSS,), (ONE_WAY,)), {CROSS: result(CROSS, "fail", "a>c/tcp"), ONE_WAY: result(ONE_WAY, "pass")}, GATES
    )
    assert verdict.outcome == "killed"
    assert verdict.killed == (CROSS,)
    assert "said so" in verdict.detail


def test_a_fault_that_nobody_sees_survives() -> None:
    verdict = weigh(fault((CROSS,)), {CROSS: result(CROSS, "pass")}, GATES)
    assert (verdict.outcome, verdict.survived) == ("survived", (CROSS,))


def test_a_blocked_check_has_not_killed() -> None:
    assert weigh(fault((CROSS,)), {CROSS: result(CROSS, "skip")}, GATES).outcome == "survived"


def test_only_matching_legs_count() -> None:
    target = f"{ONE_WAY}[a>c/*]"
    assert weigh(fault((target,)), {ONE_WAY: result(ONE_WAY, "fail", "a>c/udp")}, GATES).outcome == "killed"
    assert weigh(fault((target,)), {ONE_WAY: result(ONE_WAY, "fail", "c>a/udp")}, GATES).outcome == "survived"


def test_a_spared_leg_that_failed_is_imprecise_and_a_blocked_one_is_not() -> None:
    spare = f"{ONE_WAY}[c>a/*]"
    killed = {CROSS: result(CROSS, "fail", "a>c/tcp")}
    both = weigh(fault((CROSS,), (spare,)), {**killed, ONE_WAY: result(ONE_WAY, "fail", "a>c/udp", "c>a/udp")}, GATES)
    assert (both.outcome, both.imprecise) == ("imprecise", (spare,))
    blocked = weigh(fault((CROSS,), (spare,)), {**killed, ONE_WAY: result(ONE_WAY, "skip")}, GATES)
    assert blocked.outcome == "killed"


def test_a_broken_underlay_counts_as_noticed_although_it_is_an_error() -> None:
    name = "node.underlay"
    assert weigh(fault((name,)), {name: result(name, "error")}, GATES).outcome == "killed"


def test_a_check_that_does_not_apply_here_is_not_asked() -> None:
    name = "node.overlay"
    verdict = weigh(
        fault((CROSS, name)), {CROSS: result(CROSS, "fail", "a>c/tcp"), name: result(name, "not-applicable")}, GATES
    )
    assert verdict.outcome == "killed"


def test_a_check_that_nobody_names_is_spared_unless_the_catalogue_says_why_not() -> None:
    results = {CROSS: result(CROSS, "fail", "a>c/tcp"), ONE_WAY: result(ONE_WAY, "fail", "a>c/udp")}
    unsaid = weigh(fault((CROSS,)), results, GATES)
    assert (unsaid.outcome, unsaid.imprecise, unsaid.beside) == ("imprecise", (ONE_WAY,), ())
    said = weigh(fault((CROSS,), also=(Also(checks=(ONE_WAY,), because="no packet arrives"),)), results, GATES)
    assert (said.outcome, said.imprecise, said.beside) == ("killed", (), (ONE_WAY,))
    one_leg = Also(checks=(f"{ONE_WAY}[c>a/*]",), because="replies are lost")
    assert weigh(fault((CROSS,), also=(one_leg,)), results, GATES).imprecise == (ONE_WAY,)


def test_a_fault_of_ipv6_spares_ipv4_also_where_the_catalogue_says_that_a_check_may_fail() -> None:
    of = fault((CROSS,), family="ipv6", also=(Also(checks=(ONE_WAY,), because="no packet arrives"),))
    killed = {CROSS: result(CROSS, "fail", "a>c/tcp/ipv6")}
    assert weigh(of, {**killed, ONE_WAY: result(ONE_WAY, "fail", "a>c/udp/ipv6")}, GATES).outcome == "killed"
    both = weigh(of, {**killed, ONE_WAY: result(ONE_WAY, "fail", "a>c/udp/ipv6", "a>c/udp")}, GATES)
    assert both.outcome == "imprecise"
    assert both.doubtful == (ONE_WAY,)


def test_what_may_fail_need_not() -> None:
    of = fault((CROSS,), also=(Also(checks=(ONE_WAY,), because="no packet arrives"),))
    assert weigh(of, {CROSS: result(CROSS, "fail", "a>c/tcp"), ONE_WAY: result(ONE_WAY, "pass")}, GATES).beside == ()


def test_where_nobody_can_notice_the_reason_is_told() -> None:
    assert Scope({}).nobody(fault((CROSS,))) == ("not-applicable", f"{CROSS} would notice, and needs multi")
    assert Scope(GATES).nobody(fault((CROSS,))) is None
    declared = Scope(GATES, {CROSS: "it never did"})
    assert declared.nobody(fault((CROSS,))) == ("equivalent", "declared for this network: it never did")
    assert Scope(GATES, {f"{CROSS}/ipv6": "not yet"}).nobody(fault((CROSS,))) is None
    assert Scope(GATES, {f"{CROSS}/ipv6": "not yet"}).nobody(fault((CROSS,), family="ipv6")) is not None


def test_a_record_is_weighed_again_as_the_catalogue_is_now() -> None:
    results = [result(CROSS, "fail", "a>c/tcp"), result(ONE_WAY, "fail", "a>c/udp")]
    looks = seen(results)
    was = FaultRun(
        fault="F00", title="A fault", inject="x", outcome="imprecise", killed_by=(CROSS,), imprecise=(ONE_WAY,),
        reds=reds(looks), detail="then",
    )  # fmt: skip
    assert again(fault((CROSS,)), was, Scope(GATES)) == was
    excused = fault((CROSS,), also=(Also(checks=(ONE_WAY,), because="no packet arrives"),))
    now = again(excused, was, Scope(GATES))
    assert (now.outcome, now.imprecise, now.beside) == ("killed", (), (ONE_WAY,))
    missed = again(fault(("model.loss", CROSS)), was, Scope(GATES))
    assert (missed.outcome, missed.survived, missed.killed_by) == ("survived", ("model.loss",), (CROSS,))
    nothing = was.model_copy(update={"outcome": "equivalent"})
    assert again(excused, nothing, Scope(GATES)) == nothing


def test_what_a_lab_cannot_show_has_a_reason_and_says_whether_it_would_change_anything() -> None:
    by_id = {one.id: one for one in choose(())}
    run = simlab.context()
    assert absent(by_id["F01"], run) is None
    assert absent(by_id["F02"], run) == ("not-applicable", "not so here: the cluster has three nodes or more")
    blind = simlab.changed(simlab.dumps(lambda data: data | {"net.bridge.bridge-nf-call-iptables": "0"}, what="sysctl"))
    assert absent(by_id["F54"], blind) == ("equivalent", f"not so here: {SITUATIONS['brnf'].meaning}")


def test_what_is_only_recorded_or_declared_cannot_fail() -> None:
    run = simlab.context()
    assert can_fail(CHECKS[CROSS], run)
    assert not can_fail(CHECKS["model.pod-node.source"], run)
    declared = run.variant.model_copy(update={"deviations": {CROSS: "it never did"}})
    assert not can_fail(CHECKS[CROSS], replace(run, variant=declared, memo={}))


RULE = {"at": "n1", "run": ["nft", "add", "rule", "inet", "kfault", "kfwd", "drop"]}
IN_A_POD = {"at": "a", "run": ["ip", "link", "set", "lo", "down"]}
IN_A_CASE = {"at": "x/a", "run": ["nft", "-f", "-"]}


@pytest.mark.parametrize("action", [RULE, IN_A_POD, IN_A_CASE])
def test_rules_of_an_own_table_and_the_inside_of_a_pod_do_not_reach_plugins(action: dict[str, Any]) -> None:
    facts = {"id": "F01", "name": "x", "title": "A fault", "kills": [CROSS], "table": ["n1"]}
    kept = {"at": "n1", "run": ["ip", "route"], "keep": "route"}
    one = Fault.model_validate({**facts, "inject": [kept, action]})
    assert aloof(one)
    assert {check.id for check in beyond(one, CHECKS.values())} == {
        check.id for check in CHECKS.values() if check.batch == "B7" and set(check.needs) <= {"B0"}
    }
    assert beyond(one, [CHECKS[CROSS]]) == []


@pytest.mark.parametrize(
    "facts",
    [
        {"inject": [RULE, {"at": "n1", "run": ["ip", "route", "del", "default"]}]},
        {"inject": [{"at": "kubectl", "run": ["delete", "pod", "a"]}]},
        {"inject": [{"at": "n1", "run": ["nft", "add", "rule", "ip", "nat", "x", "drop"]}]},
        {"inject": [RULE], "stop": ["agent@n1"]},
        {"inject": [IN_A_POD], "state": ["n1:eth0"]},
        {"inject": [], "stop": ["coredns@*"]},
    ],
)
def test_anything_else_may_reach_plugins(facts: dict[str, Any]) -> None:
    base = {"id": "F01", "name": "x", "title": "A fault", "kills": [CROSS], "table": ["n1"]}
    one = Fault.model_validate({**base, **facts})
    assert not aloof(one)
    assert beyond(one, CHECKS.values()) == []


def test_preconditions_are_read_from_the_lab() -> None:
    by_id = {one.id: one for one in choose(())}
    run = simlab.context()
    assert missing(by_id["F01"], run) == []
    assert missing(by_id["F02"], run) == ["three"]
    assert missing(by_id["F54"], run) == []
    blind = simlab.changed(simlab.dumps(lambda data: data | {"net.bridge.bridge-nf-call-iptables": "0"}, what="sysctl"))
    assert missing(by_id["F54"], blind) == ["brnf"]


def test_a_drop_policy_only_matters_where_nobody_accepts_pods() -> None:
    by_id = {one.id: one for one in choose(())}
    assert missing(by_id["F06"], simlab.context()) == []
    accepting = "COMMIT\n*nat"
    rule = "-A FORWARD -s 10.244.0.0/16 -j ACCEPT\nCOMMIT\n*nat"
    guarded = simlab.changed(simlab.dumps(lambda data: data.replace(accepting, rule), what="rules-iptables"))
    assert missing(by_id["F06"], guarded) == ["open-forward"]


def test_the_masquerade_rule_is_found_among_those_of_others() -> None:
    text = (
        '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING\n'
        '-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ\n'
        "-A POSTROUTING -s 10.244.0.0/24 ! -d 10.244.0.0/16 -j MASQUERADE\n"
    )
    assert masquerade_rule(text) == "-s 10.244.0.0/24 ! -d 10.244.0.0/16 -j MASQUERADE"
    assert masquerade_rule("") == ""
