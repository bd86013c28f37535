"""Names that nobody has asked for yet: a cache must not answer them, and their judge must know them again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance import questions
from conformance.checks.resolver import forward
from conformance.context import Context
from harness.model.records import Dump, Lookup, Observation
from harness.probes.plan import LookupProbe
from tests.unit.conformance import simdual, simlab

FRESH = "3f09aa-"


def renewed(run: Context) -> Context:
    """The same run, whose names were made new."""
    return Context(run.spec, run.variant, run.inventory, tuple(_renewed(run.observations)))


def _renewed(seen: tuple[Observation, ...]) -> Iterator[Observation]:
    for one in seen:
        if isinstance(one, Lookup) and one.name.startswith("probe-"):
            yield one.model_copy(update={"name": f"probe-{FRESH}{one.name.removeprefix('probe-')}"})
        elif isinstance(one, Dump) and (one.vantage, one.what) == ("recorder", "dns"):
            told = [row | {"qname": str(row["qname"]).replace("probe-", f"probe-{FRESH}", 1)} for row in one.data]
            yield one.model_copy(update={"data": told})
        else:
            yield one


@pytest.mark.parametrize("run", [simlab.green(), simdual.green("dual"), simdual.green("ipv6")])
def test_new_names_are_judged_as_others_are(run: Context) -> None:
    whole = renewed(run)
    for family in run.inventory.families:
        before, after = forward(run.of(family)), forward(whole.of(family))
        assert len(after.legs) == len(before.legs)
        assert {leg.status for leg in after.legs} == {"pass"}
        assert all(control.ok for control in after.controls)


def test_every_look_asks_for_names_of_its_own() -> None:
    run = simlab.green()

    def asked(fresh: str) -> set[str]:
        plan = questions.lookups(run.inventory, run.spec, run.gates, fresh)
        probes = (probe for found in plan.values() for probe in found)
        return {probe.name for probe in probes if isinstance(probe, LookupProbe) and probe.purpose == "forward"}

    one, two = asked("aa-"), asked("bb-")
    assert len(one) == len(two) == 3
    assert one & two == {"www.outside.test."}


@pytest.mark.parametrize(
    ("names", "fresh"),
    [
        ([], ""),
        (["www.outside.test."], ""),
        (["probe-0-a.www.outside.test."], ""),
        (["www.outside.test.", "probe-3f09aa-1-aaaa.www.outside.test."], "3f09aa-"),
        (["probe-112233-0-a.www.outside.test."], "112233-"),
    ],
)
def test_what_made_a_name_new_is_read_from_it(names: list[str], fresh: str) -> None:
    assert questions.fresh_of(names) == fresh
