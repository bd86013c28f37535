"""What a vantage does not show is skipped with the reason, and hides nothing that is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.context import Context
from conformance.judging import judge, judge_all
from conformance.registry import CHECKS
from harness.model.features import VANTAGES
from tests.unit.conformance import simlab
from tests.unit.conformance.broken import further_rule, more_route

WHY = {"hosts": "namespace team-a enforces Pod Security 'baseline'", "node": "not allowed to list nodes"}


def limited(*closed: str) -> Context:
    """A green run as somebody saw it for whom some gates are closed."""
    green = simlab.green()
    environment = green.inventory.environment | dict.fromkeys(closed, False)
    reasons = {gate: WHY[gate] for gate in closed}
    inventory = green.inventory.model_copy(update={"environment": environment, "reasons": reasons})
    return replace(green, inventory=inventory, memo={})


def test_in_a_lab_of_ours_every_vantage_is_open() -> None:
    assert all(simlab.green().gates[gate] for gate in VANTAGES)


def test_a_check_behind_a_closed_vantage_is_skipped_with_the_reason() -> None:
    result = judge(limited("node"), CHECKS["node.links"], CHECKS)
    assert (result.status, result.reason) == ("skip", "node")
    assert result.statement == "not measured here: not allowed to list nodes"


def test_a_skipped_prerequisite_blocks_nobody() -> None:
    run = limited("hosts")
    assert judge(run, CHECKS["node.underlay"], CHECKS).status == "skip"
    assert judge(run, CHECKS["model.pod-pod.cross-node"], CHECKS).status == "pass"


def test_what_a_network_does_not_have_is_not_applicable_whatever_can_be_seen() -> None:
    result = judge(limited("node"), CHECKS["svc.kpf"], CHECKS)
    assert (result.status, result.reason) == ("not-applicable", "kpf")


@pytest.mark.parametrize("gate", ["hosts", "node"])
def test_less_sight_turns_passes_into_skips_and_nothing_else(gate: str) -> None:
    whole = {one.id: one.status for one in judge_all(simlab.green(), CHECKS.values(), CHECKS)}
    less = {one.id: one.status for one in judge_all(limited(gate), CHECKS.values(), CHECKS)}
    changed = {name for name in whole if whole[name] != less[name]}
    assert changed
    assert {less[name] for name in changed} == {"skip"}
    assert changed <= {name for name, check in CHECKS.items() if gate in check.gates}


def test_rules_that_the_network_itself_may_have_made_are_only_recorded() -> None:
    way = more_route({"dst": "default", "table": "52"})
    found = simlab.changed(further_rule({"priority": 5270, "src": "all", "table": "52"}), way)
    assert judge(found, CHECKS["node.rules"], CHECKS).status == "fail"
    inventory = found.inventory.model_copy(update={"environment": found.inventory.environment | {"known": False}})
    result = judge(replace(found, inventory=inventory, memo={}), CHECKS["node.rules"], CHECKS)
    assert result.status == "pass"
    recorded = next(leg for leg in result.legs if leg.leg == "n1:pods of n2")
    assert recorded.status == "record"
    assert "by rule 5270 (table 52)" in recorded.statement
