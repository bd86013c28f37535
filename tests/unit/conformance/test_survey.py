"""A whole cluster, by what its kernels say: a healthy one has nothing wrong, and what is broken is named."""

from __future__ import annotations

import fnmatch
from dataclasses import replace

import pytest

from conformance.causes.survey import survey, ways
from conformance.context import Context
from tests.unit.conformance import stored
from tests.unit.conformance.broken_worlds import BROKEN, NETWORK

BLUNT = {"address", "six-off", "six-small", "notrack"}
"""What breaks more than its key says, so that something else troubles more ways: addresses of both families."""


def skipped(there: Context) -> set[str]:
    return {one.name for one in there.inventory.services if one.role in {"itp-local", "moving"}}


@pytest.mark.parametrize("name", stored.names())
def test_nothing_is_wrong_with_a_healthy_cluster(name: str) -> None:
    there = stored.context(name)
    assert [one.sentence for one in survey(there, skipped(there)).causes] == []
    walked = [(source, target) for source, target, *_ in ways(there.of("ipv4"), skipped(there))]
    assert {("a", "c"), ("a", "b"), ("a", "n1"), ("n2", "a"), ("a", "outside"), ("a", "sole-c")} <= set(walked)


@pytest.mark.parametrize("name", ["pod-route", "detached"])
def test_a_pod_beyond_the_first_of_its_node_is_asked_too(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("conformance.causes.survey.EACH", 1)
    change, _, key = BROKEN[name]
    there = stored.context(NETWORK, change)
    sites = sorted(there.inventory.sites, key=lambda one: one.name == "a")
    last = replace(there, inventory=there.inventory.model_copy(update={"sites": tuple(sites)}))
    assert [one.name for one in last.inventory.on("n1")] == ["b", "a"]
    assert fnmatch.fnmatch(survey(last, skipped(last)).causes[0].key, key)


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named(name: str) -> None:
    change, _, key = BROKEN[name]
    there = stored.context(NETWORK, change)
    found = survey(there, skipped(there)).causes
    at = [number for number, one in enumerate(found) if fnmatch.fnmatch(one.key, key)]
    assert at, [one.key for one in found]
    assert at[0] == 0 or name in BLUNT
    assert all(one.confidence == "certain" for one in found)
