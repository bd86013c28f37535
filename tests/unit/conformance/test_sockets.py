"""How many questions of one socket may be lost, and beside what."""

from __future__ import annotations

import pytest

from conformance.checks.stub import undecided
from harness.model.records import Lookup, Observation, Query
from tests.unit.conformance import broken, simlab
from tests.unit.conformance.broken import queries
from tests.unit.conformance.simlab import Change

CHECK = "dns.same-socket"


def losing(purpose: str, count: int) -> Change:
    """The first so many second questions of pod a are lost."""

    def edit(number: int, query: Query) -> Query:
        return broken.lost(query) if number % 2 and number < 2 * count else query

    return queries(edit, purpose=purpose, src="a")


@pytest.mark.parametrize(
    ("one_socket", "own_sockets", "status"),
    [
        pytest.param(1, 0, "pass", id="one is lost by chance"),
        pytest.param(2, 0, "pass", id="two are lost by chance"),
        pytest.param(3, 0, "fail", id="more than by chance"),
        pytest.param(12, 9, "fail", id="more than are lost anyway"),
        pytest.param(0, 12, "pass", id="only separate sockets lose"),
        pytest.param(6, 5, "fail", id="as many are lost anyway, also when asked again"),
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
        told = tuple(broken.lost(query) if query.name == "nosuch." else query for query in one.queries)
        return one.model_copy(update={"outcome": "timeout", "queries": told})

    result = simlab.verdict(simlab.changed(silent), "dns.negative.relative")
    assert (result.status, {leg.status for leg in result.legs}) == ("pass", {"record"})


def test_loss_that_separate_sockets_share_is_not_put_down_to_the_one_socket() -> None:
    result = simlab.verdict(simlab.changed(losing("one-socket", 6), losing("own-sockets", 5)), CHECK)
    assert (
        "from a socket each, 19 of 24 are: datagrams to 10.96.0.10 are lost, whatever their socket"
    ) in result.statement


@pytest.mark.parametrize(
    ("lost", "places"),
    [
        pytest.param(2, frozenset(), id="by chance"),
        pytest.param(3, frozenset({"a"}), id="more than by chance"),
        pytest.param(12, frozenset({"a"}), id="every second one"),
    ],
)
@pytest.mark.parametrize("purpose", ["one-socket", "own-sockets"])
def test_a_place_that_lost_some_is_asked_again(purpose: str, lost: int, places: frozenset[str]) -> None:
    assert undecided(simlab.changed(losing(purpose, lost)).observations) == places


def test_a_server_that_never_answers_is_not_asked_again() -> None:
    silent = simlab.changed(queries(lambda _, query: broken.lost(query), purpose="own-sockets"))
    assert undecided(silent.observations) == frozenset()
