"""Few faults stand for all, and no requirement is left out."""

from __future__ import annotations

from harness.faults.catalogue import faults
from tests.covering import few, kills


def test_a_few_faults_fail_whatever_all_of_them_fail() -> None:
    everything = frozenset[str]().union(*map(kills, faults()))
    chosen = few(faults(), everything)
    assert frozenset[str]().union(*map(kills, chosen)) == everything
    assert len(chosen) < len(faults()) / 2


def test_each_of_them_is_needed_by_one_requirement_at_least() -> None:
    seen: set[str] = set()
    for fault in few(faults(), frozenset[str]().union(*map(kills, faults()))):
        assert kills(fault) - seen
        seen |= kills(fault)


def test_nothing_is_chosen_for_what_no_fault_fails() -> None:
    assert few(faults(), {"no.such"}) == []
    assert few([], {"dns.service"}) == []
