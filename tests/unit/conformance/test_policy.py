"""Policies where they are enforced: green when the network does what the API says, and every way to fail is seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance.policy.cases import NEW, Dial, catalogue
from conformance.registry import CHECKS
from harness.model.records import Dump, Exchange, Observation, Result, Try
from tests.unit.conformance import simlab, simpolicy

ENFORCED = [check.id for check in CHECKS.values() if "np" in check.gates]
GREEN = tuple(simpolicy.observations(enforcing=True))


def judged(check: str, seen: list[Observation], *, enforcing: bool = True) -> Result:
    return simlab.verdict(simpolicy.context(simlab.green(), simlab.inventory(), seen, enforcing=enforcing), check)


def under(case: str) -> Callable[[str], bool]:
    """Dials of the round in which a case is tried."""
    data = next(one.data for one in GREEN if isinstance(one, Dump))
    (purpose,) = (one["purpose"] for one in data["rounds"] if case in {kept["id"] for kept in one["cases"]})
    return lambda other: other == purpose


def lab(wrong: Callable[[str, Dial], bool]) -> list[Observation]:
    """A network that does the opposite of what the API says of some dials."""
    return simpolicy.observations(enforcing=True, answer=lambda purpose, dial, ok: ok is not wrong(purpose, dial))


@pytest.mark.parametrize("check", ["np.default", *ENFORCED])
def test_a_network_that_does_what_the_api_says_passes(check: str) -> None:
    result = judged(check, list(GREEN))
    assert result.status == "pass", result.statement
    assert result.tested == result.total > 1


@pytest.mark.parametrize("check", sorted(set(ENFORCED) - {"np.implicit"}))
def test_a_variant_that_claims_policies_and_enforces_none_fails_with_leaks(check: str) -> None:
    through = simpolicy.observations(enforcing=True, answer=lambda *_: True)
    result = judged(check, through)
    assert result.status == "fail"
    assert result.reason == "unexpected"
    assert result.statement.startswith("leak: ")


def test_what_must_always_pass_is_not_judged_while_pods_are_open() -> None:
    result = judged("np.implicit", simpolicy.observations(enforcing=True, answer=lambda *_: True))
    assert result.status == "error"
    assert "P1" in {control.kind for control in result.controls if not control.ok}


def test_a_new_pod_that_got_something_through_once_leaks() -> None:
    result = judged("np.new-pod", lab(lambda purpose, dial: purpose == NEW and dial.dst == "elsewhere"))
    assert [leg.leg for leg in result.legs if leg.status == "fail"] == [
        "x/new>elsewhere/tcp/8080",
        "x/new>elsewhere/udp/8080",
    ]
    assert "x/newcomer isolates x/new for egress" in result.statement


def test_a_new_pod_that_reached_nothing_at_all_proves_nothing() -> None:
    result = judged("np.new-pod", lab(lambda purpose, dial: purpose == NEW and dial.dst == "block"))
    assert result.status == "error"
    assert "P2" in {control.kind for control in result.controls if not control.ok}


LEAKS = {
    "np.deny-ingress": ("deny-ingress", Dial("y/a", "x/b", "udp", 8080)),
    "np.deny-egress": ("deny-egress", Dial("x/c", "elsewhere", "tcp", 8080)),
    "np.select": ("both-in-one-peer", Dial("y/a", "y/c", "tcp", 8080)),
    "np.ports": ("port-and-peer", Dial("z/c", "y/b", "tcp", 8081)),
    "np.end-port": ("port-range", Dial("z/c", "y/a", "tcp", 9011)),
    "np.named-egress": ("egress-named-port", Dial("y/b", "z/a", "tcp", 8081)),
    "np.ipblock": ("block-with-exception", Dial("z/a", "exception", "tcp", 8080)),
    "np.additive": ("union", Dial("z/a", "x/c", "tcp", 8080)),
    "np.dns": ("dns-forgotten", Dial("y/c", "dns", "udp", 53)),
}
BREAKS = {
    "np.deny-ingress": ("deny-ingress", Dial("x/b", "x/b", "tcp", 8080)),
    "np.deny-egress": ("deny-egress", Dial("x/c", "x/c", "tcp", 8080)),
    "np.select": ("expressions", Dial("z/a", "z/b", "tcp", 8080)),
    "np.ports": ("named-port", Dial("x/a", "z/c", "tcp", 8081)),
    "np.end-port": ("port-range", Dial("z/c", "y/a", "tcp", 9010)),
    "np.named-egress": ("egress-named-port", Dial("y/b", "z/c", "tcp", 8081)),
    "np.ipblock": ("block-with-exception", Dial("z/a", "block", "udp", 8080)),
    "np.additive": ("union-reversed", Dial("x/b", "y/c", "udp", 8080)),
    "np.dns": ("dns-only", Dial("z/c", "dns", "tcp", 53)),
    "np.implicit": ("implicit", Dial("n1", "x/a", "tcp", 8080)),
}


@pytest.mark.parametrize(("check", "case", "dial"), [(check, *found) for check, found in LEAKS.items()])
def test_one_leak_fails_and_names_the_policy(check: str, case: str, dial: Dial) -> None:
    here = under(case)
    result = judged(check, lab(lambda purpose, other: here(purpose) and other == dial))
    assert [leg.leg for leg in result.legs if leg.status == "fail"] == [f"{case}:{dial}"]
    assert result.statement.startswith("leak: ")
    assert f"/{case}" in result.statement


@pytest.mark.parametrize(("check", "case", "dial"), [(check, *found) for check, found in BREAKS.items()])
def test_one_break_fails_and_says_what_allows_it(check: str, case: str, dial: Dial) -> None:
    here = under(case)
    result = judged(check, lab(lambda purpose, other: here(purpose) and other == dial))
    assert [leg.leg for leg in result.legs if leg.status == "fail"] == [f"{case}:{dial}"]
    assert result.reason == "timeout"
    assert "allows it" in result.statement or "no policy" in result.statement


def test_leaks_come_before_breaks() -> None:
    here = under("named-port")
    wrong = {Dial("x/a", "z/a", "tcp", 8080), Dial("x/a", "z/c", "tcp", 8080)}
    result = judged("np.ports", lab(lambda purpose, dial: here(purpose) and dial in wrong))
    assert [leg.reason for leg in result.legs if leg.status == "fail"] == ["unexpected", "timeout"]


def test_a_forbidden_dial_that_got_through_at_one_try_is_a_leak() -> None:
    here = under("deny-ingress")
    once = (Try(t_ms=0, ms=1, outcome="ok"), Try(t_ms=700, ms=700, outcome="timeout", errno=110))
    seen = [
        one.model_copy(update={"tries": once})
        if isinstance(one, Exchange) and here(one.purpose) and (one.src, one.dst, one.proto) == ("y/a", "x/b", "tcp")
        else one
        for one in GREEN
    ]
    assert judged("np.deny-ingress", seen).reason == "unexpected"


@pytest.mark.parametrize(("outcome", "errno"), [("refused", 111), ("unreachable", 113), ("error", 1)])
def test_a_policy_may_reject_as_well_as_drop(outcome: str, errno: int) -> None:
    seen = [
        one.model_copy(update={"outcome": outcome, "errno": errno, "tries": ()})
        if isinstance(one, Exchange) and one.outcome == "timeout"
        else one
        for one in GREEN
    ]
    assert judged("np.deny-ingress", seen).status == "pass"


def test_a_probe_that_broke_proves_nothing() -> None:
    seen = [
        one.model_copy(update={"outcome": "error", "errno": 0, "detail": "no agent"})
        if isinstance(one, Exchange) and one.outcome == "timeout"
        else one
        for one in GREEN
    ]
    assert judged("np.deny-ingress", seen).status == "error"


def test_a_dial_that_never_worked_is_no_proof_of_a_policy() -> None:
    result = judged("np.deny-ingress", lab(lambda purpose, dial: purpose == "policy-before" and dial.dst == "x/b"))
    assert result.status == "error"
    assert "P6" in {control.kind for control in result.controls if not control.ok}


def test_a_policy_that_the_api_server_refused_fails_its_case_only() -> None:
    def refuse(one: Observation) -> Observation:
        if not isinstance(one, Dump):
            return one
        rounds = [played | {"rejected": {"x/union-1-deny": "exceeded quota: none"}} for played in one.data["rounds"]]
        return one.model_copy(update={"data": one.data | {"rounds": rounds}})

    seen = [refuse(one) for one in GREEN]
    assert "exceeded quota" in judged("np.additive", seen).statement
    assert judged("np.select", seen).status == "pass"


def test_policies_that_nobody_enforces_are_recorded() -> None:
    result = judged("np.absent", simpolicy.observations(enforcing=False), enforcing=False)
    policies = sum(len(case.policies) for case in catalogue().cases)
    assert result.status == "pass"
    assert result.statement.startswith(f"{policies} policies were stored and none is enforced: all ")


def test_a_variant_that_enforces_policies_must_say_so() -> None:
    kept = simpolicy.observations(enforcing=False, answer=lambda _purpose, _dial, ok: ok)
    result = judged("np.absent", kept, enforcing=False)
    assert result.status == "error"
    assert "gate np" in result.statement


def test_what_is_kept_for_the_report_is_what_the_judge_computes() -> None:
    from conformance.policy.seen import record  # noqa: PLC0415 - one test looks behind the judges

    found = record(simpolicy.context(simlab.green(), simlab.inventory(), list(GREEN), enforcing=True))
    assert found is not None
    for one in found.rounds:
        computed = {str(dial): decision.allowed for dial, decision in found.expected(one).items()}
        assert computed == {name: kept["allowed"] for name, kept in one["expected"].items()}
