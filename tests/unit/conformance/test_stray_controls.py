"""A control about packets that do not belong into a connection says which connection it is about, and what happened."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.conformance import simlab
from tests.unit.conformance.broken import stray

A, B = "10.244.0.2 (a, n1)", "10.244.0.3 (b, n1)"


def unsent(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"sent": 0} if "sent" in row else row for row in rows]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (stray("b", "a", resets=1), f"b to {A} at 10.244.0.2:8080: 1 resets"),
        (stray("b", "a", outcome="timeout"), f"b to {A} at 10.244.0.2:8080: timeout after the packets"),
        (
            stray("b", "a", before="refused", detail="connection refused"),
            f"b to {A} at 10.244.0.2:8080: refused at first connection refused",
        ),
        (simlab.dumps(unsent, what="strays"), "saw no acknowledgement from 10.244.0.3:"),
        (simlab.dumps(lambda _: [], what="strays"), "the probe did not report the connection to a beside b>sole-a/tcp"),
        (simlab.dumps(lambda _: {"error": "no shell"}, what="strays"), f"{A} could not be asked"),
    ],
)
def test_a_control_says_what_became_of_which_connection(change: simlab.Change, said: str) -> None:
    result = simlab.verdict(simlab.changed(change), "ct.invalid")
    assert result.status == "error"
    told = [one.detail for one in result.controls if one.kind == "P2" and not one.ok]
    assert len(told) == 1
    assert said in told[0]
