"""What holds for every requirement: green on a healthy lab, never a pass without observations."""

from __future__ import annotations

import pytest

from conformance.context import Context, restore
from conformance.inventory import Inventory, NodeFact
from conformance.judging import judge_all
from conformance.registry import CHECKS
from tests.unit.conformance import simlab

APPLICABLE = [check.id for check in CHECKS.values() if not {"kpf", "cni4", "np", "v6", "dual"} & set(check.gates)]


@pytest.mark.parametrize("name", APPLICABLE)
def test_a_healthy_lab_passes(name: str) -> None:
    result = simlab.verdict(simlab.green(), name)
    assert result.status == "pass", result.statement
    assert result.tested


@pytest.mark.parametrize("name", APPLICABLE)
def test_nothing_observed_is_an_error_and_never_a_pass(name: str) -> None:
    nothing = Inventory(nodes=(NodeFact(name="n1", address="172.18.0.11", mtu=1500),), sites=())
    run = Context(simlab.SPEC, simlab.green().variant, nothing, ())
    run.gates.update(dict.fromkeys(CHECKS[name].gates, True))
    result = simlab.verdict(run, name)
    assert result.status == "error", result.statement


@pytest.mark.parametrize("check", [check for check in CHECKS.values() if check.inverse], ids=lambda check: check.id)
def test_a_check_that_no_fault_kills_has_a_working_inverted_probe(check: object) -> None:
    name = getattr(check, "id", "")
    run = simlab.context(variant_name="flannel")
    run.gates["kpf"] = True
    result = simlab.verdict(run, name)
    assert [control for control in result.controls if control.kind == "inv" and control.ok], result.controls


def test_every_result_says_something() -> None:
    for result in judge_all(simlab.green(), CHECKS.values(), CHECKS):
        assert result.statement
        assert not result.statement.endswith(".")


def test_a_run_is_judged_from_its_directory_alone() -> None:
    run = restore(simlab.SPEC, simlab.GREEN)
    assert isinstance(run, Context)
    assert run.inventory == simlab.inventory()
    assert [one.status for one in judge_all(run, CHECKS.values(), CHECKS)].count("pass") == len(APPLICABLE)


def test_only_the_last_of_several_runs_in_a_directory_counts() -> None:
    first = simlab.changed(simlab.exchanges({"outcome": "timeout"}, purpose="mesh")).observations
    run = restore(simlab.SPEC, [*first, *simlab.GREEN])
    assert simlab.verdict(run, "model.pod-pod.cross-node").status == "pass"


def test_a_directory_without_inventory_cannot_be_judged() -> None:
    with pytest.raises(LookupError, match="no inventory and no variant"):
        restore(simlab.SPEC, simlab.GREEN[2:])


def test_a_refusal_that_linux_hears_with_its_second_packet_is_at_once() -> None:
    """Over a veth pair without a bridge the first ICMP error comes while connect(2) holds the socket."""
    run = simlab.changed(simlab.exchanges({"rtt_us": 1_011_000, "tries": ()}, purpose="no-endpoints"))
    assert simlab.verdict(run, "svc.no-endpoints").status == "pass"
