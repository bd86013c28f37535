"""How many questions of one socket may be lost, and beside what."""

from __future__ import annotations

import pytest

from harness.model.records import Lookup, Observation, Query
from tests.unit.conformance import simlab
from tests.unit.conformance.broken import lost, queries
from tests.unit.conformance.simlab import Change

CHECK = "dns.same-socket"


def losing(purpose: str, count: int) -> Change:
    """The first so many second questions of pod a are lost."""

    def edit(number: int, query: Query) -> Query:
        return lost(query) if number % 2 and number < 2 * count else query

    return queries(edit, purpose=purpose, src="a")


@pytest.mark.parametrize(
    ("one_socket", "own_sockets", "status"),
    [
        pytest.param(1, 0, "pass", id="one is lost by chance"),
        pytest.param(2, 0, "pass", id="two are lost by chance"),
        pytest.param(3, 0, "fail", id="more than by chance"),
        pytest.param(12, 9, "fail", id="more than are lost anyway"),
        pytest.param(0, 12, "pass", id="only separate sockets lose"),
        pytest.param(6, 5, "error", id="as many are lost anyway"),
    ],
)
def test_loss_is_weighed_against_that_of_separate_sockets(one_socket: int, own_sockets: int, status: str) -> None:
    run = simlab.changed(losing("one-socket", one_socket), losing("own-sockets", own_sockets))
    assert simlab.verdict(run, CHECK).status == status


def test_what_was_lost_by_chance_is_said() -> None:
    result = simlab.verdict(simlab.changed(losing("one-socket", 1)), CHECK)
    assert result.statement.endswith("; 1 of 48 datagrams were lost, as happens")


def test_a_walk_that_ends_outside_of_the_zone_is_written_down() -> None:
    """Without a way outside nobody says that the absolute name does not exist: that is for other checks."""

    def silent(one: Observation) -> Observation:
        if not isinstance(one, Lookup) or one.purpose != "negative-relative":
            return one
        told = tuple(lost(query) if query.name == "nosuch." else query for query in one.queries)
        return one.model_copy(update={"outcome": "timeout", "queries": told})

    result = simlab.verdict(simlab.changed(silent), "dns.negative.relative")
    assert (result.status, {leg.status for leg in result.legs}) == ("pass", {"record"})
