"""A control that cannot be false is no control: each of every check is, in some run or with some bug in the judge."""

from __future__ import annotations

import pytest

from conformance.registry import CHECKS
from tests.unit.conformance import simlab
from tests.unit.conformance.controls import CENSUS, WAYS, changed, green

ALL = [(name, number) for name in CHECKS for number in range(len(WAYS.get(name, CENSUS)))]


def test_all_ways_are_of_checks_that_exist() -> None:
    assert set(WAYS) <= set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_every_control_of_every_check_has_a_way_to_be_false(name: str) -> None:
    result = simlab.verdict(green(name), name)
    assert result.status == "pass", result.statement
    assert result.controls
    assert all(one.ok for one in result.controls)
    assert len(WAYS.get(name, CENSUS)) == len(result.controls), [one.detail for one in result.controls]


@pytest.mark.parametrize(("name", "number"), ALL, ids=[f"{name}-{number}" for name, number in ALL])
def test_a_control_is_false_when_what_it_looks_at_is_wrong(
    name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = WAYS.get(name, CENSUS)[number]
    if way.rule is not None:
        monkeypatch.setattr(*way.rule)
    result = simlab.verdict(changed(green(name), way), name)
    assert result.controls, result.statement
    assert not result.controls[number].ok, [(one.kind, one.ok, one.detail) for one in result.controls]
    assert result.status == "error", result.statement
