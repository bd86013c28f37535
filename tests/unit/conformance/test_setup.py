"""A second SYN is the network's fault only where loopback, at the same moment, needs one."""

from __future__ import annotations

import pytest

from conformance.destinations import translations
from harness.model.records import Exchange, Observation
from tests.unit.conformance import simlab
from tests.unit.conformance.broken import API_DNAT
from tests.unit.conformance.simlab import exchanges

LATE = {"syn_resent": 1, "rtt_us": 1031000, "attempts": 3}


def some(count: int) -> simlab.Change:
    """So many of the connections from a to c took two SYNs."""
    left = [count]

    def apply(one: Observation) -> Observation:
        if isinstance(one, Exchange) and (one.purpose, one.src, one.dst) == ("setup", "a", "c") and left[0]:
            left[0] -= 1
            return one.model_copy(update=LATE)
        return one

    return apply


@pytest.mark.parametrize(("count", "status"), [(1, "pass"), (6, "pass"), (7, "fail"), (12, "fail")])
def test_more_than_half_of_a_paths_connections_must_have_taken_more(count: int, status: str) -> None:
    assert simlab.verdict(simlab.changed(some(count)), "conn.setup").status == status


@pytest.mark.parametrize("end", ["a", "c"])
def test_a_machine_that_stood_still_is_recorded_and_not_blamed_on_the_path(end: str) -> None:
    run = simlab.changed(some(12), exchanges(LATE, purpose="setup-self", src=end))
    result = simlab.verdict(run, "conn.setup")
    assert result.status == "pass", result.statement
    assert {leg.leg for leg in result.legs if leg.status == "record"} == {"a>c/tcp", f"{end}>{end}/tcp"}


def test_who_answered_for_somebody_else_says_nothing_of_the_path() -> None:
    run = simlab.changed(some(12), exchanges({"token": "d"}, purpose="setup", src="a", dst="c"))
    assert simlab.verdict(run, "conn.setup").status == "pass"


def test_a_kernel_that_does_not_count_is_no_verdict() -> None:
    run = simlab.changed(exchanges({"syn_resent": None}, purpose="setup", src="a", dst="c"))
    assert simlab.verdict(run, "conn.setup").reason == "missing"


RULES = """*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j KUBE-SERVICES
-A PREROUTING -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j DNAT --to-destination 10.0.2.15:6443
-A PREROUTING -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.2.16:80
-A PREROUTING ! -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j DNAT --to-destination 10.0.2.17:443
-A KUBE-SEP-X -p tcp -m tcp -j DNAT --to-destination 172.18.0.10:6443
COMMIT
"""


def test_rules_that_send_a_destination_elsewhere_are_found_in_iptables_and_in_nft() -> None:
    found = translations(RULES, API_DNAT, "10.96.0.1", 443)
    assert [(one.to, one.hook) for one in found] == [("10.0.2.15:6443", "prerouting")] * 2
    assert all(one.meets(local=False) and not one.meets(local=True) for one in found)
    assert translations(RULES, API_DNAT, "10.96.0.2", 443) == []
    assert translations(None, [], "10.96.0.1", 443) == []
