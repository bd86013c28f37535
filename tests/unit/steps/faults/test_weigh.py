"""Who noticed a fault: killed, survived, imprecise, and when a lab cannot show it."""

from __future__ import annotations

from harness.faults.catalogue import choose
from harness.faults.model import Fault
from harness.model.records import Leg, Result
from harness.steps.faults.names import masquerade_rule
from harness.steps.faults.run import weigh
from harness.steps.faults.scene import missing
from tests.unit.conformance import simlab

GATES = {"multi": True}


def fault(kills: tuple[str, ...], spares: tuple[str, ...] = ()) -> Fault:
    return Fault(id="F00", name="x", title="A fault", kills=kills, spares=spares, inject=())


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
