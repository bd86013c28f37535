"""Commands to type next have no gaps: the leg that failed fills them, or they are not shown."""

from __future__ import annotations

import pytest

from conformance.registry import CHECKS
from harness.model.gaps import gaps
from tests.unit.conformance import simdual, simlab
from tests.unit.conformance.broken import CASES, DUAL_CASES, Broken

KNOWN = {
    "api", "bridge", "destination", "dns", "host_veth", "leases", "name", "nic", "node", "overlay", "pid", "port",
    "size", "source",
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}: {case.what}")
def test_a_failed_check_says_whole_commands(case: Broken) -> None:
    result = simlab.verdict(simlab.changed(*case.changes), case.check)
    assert [command for command in result.next if gaps(command)] == []


@pytest.mark.parametrize("case", DUAL_CASES, ids=lambda case: f"{case.check}: {case.what}")
def test_so_does_one_of_two_families(case: Broken) -> None:
    result = simlab.verdict(simdual.changed("dual", case.family, *case.changes), case.check)
    assert [command for command in result.next if gaps(command)] == []


def test_every_check_keeps_a_command_whatever_is_known() -> None:
    helpless = [
        check.id
        for check in CHECKS.values()
        if check.level != "R" and not [command for command in check.next if not gaps(command)]
    ]
    assert set(helpless) <= {
        "dns.large", "dns.tcp", "model.hops", "model.identity", "model.no-nat.wire", "model.node-pod.local",
        "model.node-pod.remote", "model.pod-ip.agrees", "mtu.exact", "mtu.wire", "node.overlay",
    }  # fmt: skip


def test_gaps_are_those_that_something_fills() -> None:
    assert {name for check in CHECKS.values() for command in check.next for name in gaps(command)} <= KNOWN
