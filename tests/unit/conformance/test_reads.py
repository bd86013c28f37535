"""What a check reads is all that it needs."""

from __future__ import annotations

import pytest

from conformance.context import Context
from conformance.judging import judge
from conformance.reads import Reads, kept, reads
from conformance.registry import CHECKS
from harness.model.records import Burst, Dump, Exchange, Lookup, Observation
from harness.probes.plan import ExchangeProbe, LookupProbe, Probe, Target
from tests.unit.conformance import simlab

FREE = {check.id for check in CHECKS.values() if "B6" in check.batches}
"""Checks of policies ask for cases, not for purposes."""


def needed(one: Observation, read: Reads) -> bool:
    if isinstance(one, Exchange | Lookup | Burst):
        return one.purpose in read.purposes
    return one.what in read.subjects if isinstance(one, Dump) else True


@pytest.mark.parametrize("check", sorted(set(CHECKS) - FREE))
def test_a_check_judges_the_same_from_what_it_reads_alone(check: str) -> None:
    whole = simlab.context()
    read = reads(whole, [CHECKS[check]], CHECKS)
    part = Context(
        whole.spec, whole.variant, whole.inventory, tuple(one for one in whole.observations if needed(one, read))
    )
    ours, full = judge(part, CHECKS[check], CHECKS), judge(simlab.context(), CHECKS[check], CHECKS)
    assert (ours.status, ours.statement, ours.legs) == (full.status, full.statement, full.legs)


def test_prerequisites_are_read_too() -> None:
    read = reads(simlab.context(), [CHECKS["svc.hairpin"]], CHECKS)
    assert "hairpin" in read.purposes
    assert len(read.purposes) < 12
    assert reads(simlab.context(), [CHECKS["node.sysctl"]], CHECKS).subjects >= {"sysctl"}


def test_a_plan_keeps_what_is_read_and_no_empty_places() -> None:
    target = Target("a", "n1", "10.0.0.1")
    plan: dict[str, list[Probe]] = {
        "a": [ExchangeProbe(target, purpose="mesh"), LookupProbe("x.", purpose="ptr")],
        "b": [LookupProbe("y.")],
    }
    assert kept(plan, None) == plan
    assert kept(plan, Reads(frozenset({"mesh"}), frozenset())) == {"a": [ExchangeProbe(target, purpose="mesh")]}
