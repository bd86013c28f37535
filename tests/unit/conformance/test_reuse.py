"""Who is asked of an address that changes hands: rules of a node need not let every place have an answer."""

from __future__ import annotations

from typing import Any

from harness.model.records import Result
from tests.unit.conformance import simlab
from tests.unit.conformance.broken import reused, verb

SIX = "2001:2:0:8::2"
UNANSWERED: dict[str, Any] = {"outcome": "timeout", "ttl": None}


def judged(*unanswered: tuple[str, str]) -> Result:
    """The verdict where some moments of some places have no answer."""
    rows = [row | (UNANSWERED if (row["moment"], row["from"]) in unanswered else {}) for row in simlab.again()]
    return simlab.verdict(simlab.changed(reused(asked=rows)), "ipam.reuse")


def test_a_place_that_never_had_an_answer_is_written_down() -> None:
    result = judged(("before", "neighbour"), ("after", "neighbour"))
    assert result.status == "pass", result.statement
    (found, *_) = [leg for leg in result.legs if leg.leg == "n1/neighbour>198.18.8.2"]
    assert found.status == "record"
    assert "before it was given again either" in found.statement


def test_a_node_that_has_an_answer_no_more_is_a_failure() -> None:
    result = judged(("after", "node"))
    assert result.status == "fail"
    assert "something stale leads to its old owner" in result.statement


def test_a_neighbour_may_know_the_old_owner_for_some_seconds() -> None:
    result = judged(("after", "neighbour"))
    assert result.status == "pass", result.statement
    assert any(leg.status == "record" and "may still know the old owner" in leg.statement for leg in result.legs)


def test_where_nobody_had_an_answer_there_is_no_verdict() -> None:
    result = judged(*((moment, place) for moment in ("before", "after") for place in ("node", "neighbour")))
    assert (result.status, result.reason) == ("error", "control")


def test_over_ipv6_a_node_may_know_the_old_owner_too() -> None:
    rows = [row | ({"ip": SIX} | (UNANSWERED if row["moment"] == "after" else {})) for row in simlab.again()]
    run = simlab.changed(
        reused(asked=rows, held={"old": [], "new": [SIX]}),
        verb("fill-0", output={"ips": [{"address": f"{SIX}/125"}]}),
        verb("fill-again", output={"ips": [{"address": f"{SIX}/125"}]}),
    )
    result = simlab.verdict(run, "ipam.reuse")
    assert result.status == "pass", result.statement
    assert {leg.status for leg in result.legs if leg.leg.endswith(f">{SIX}")} == {"record"}
