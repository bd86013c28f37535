"""When policies count as enforced: looks at an agent that takes its time, on a machine that takes its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from conformance.policy.cases import Dial
from conformance.policy.semantics import Decision
from harness import timeouts
from harness.model.outcome import Outcome
from harness.model.records import Exchange, Observation, Try
from harness.steps.suite.policy import play
from harness.steps.suite.policy.record import Round

OPEN = Dial("x/a", "x/b", "tcp", 8080)
SHUT = Dial("x/a", "x/c", "tcp", 8080)
WANTED = {OPEN: Decision(allowed=True, why="a rule"), SHUT: Decision(allowed=False, why="no rule")}

Look = dict[Dial, tuple[Outcome, ...]]
"""What each dial's tries were."""

SILENT: Look = {OPEN: ("ok",), SHUT: ("timeout",)}
LEAKING: Look = {OPEN: ("ok",), SHUT: ("ok",)}
LEAKING_ONCE: Look = {OPEN: ("ok",), SHUT: ("ok", "timeout")}


def exchange(dial: Dial, tries: tuple[Outcome, ...]) -> Exchange:
    attempts = tuple(Try(t_ms=0.0, ms=1.0, outcome=outcome) for outcome in tries)
    return Exchange(
        batch="B6", vantage="pod", place=dial.src, purpose="policy-1", src=dial.src, src_node="n1",
        src_ip="10.244.0.2", dst=dial.dst, dst_node="n2", proto=dial.proto, dial=f"10.244.1.2:{dial.port}",
        outcome=tries[-1], tries=attempts,
    )  # fmt: skip


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Look]], list[str]]:
    """Have the looks of a round see what a test says, one after the other, and the last one for good."""

    def told(script: list[Look]) -> list[str]:
        kinds: list[str] = []

        def look(_: Any, wanted: Iterable[Dial], purpose: str, seconds: float, **__: Any) -> dict[Dial, Observation]:
            del purpose
            seen = script[min(len(kinds), len(script) - 1)]
            kinds.append("sure" if seconds == play.SURE else "quick")
            return {dial: exchange(dial, seen[dial]) for dial in wanted}

        monkeypatch.setattr(play, "look", look)
        return kinds

    return told


def settled(round_: Round, deadline: float = 5.0) -> dict[Dial, Observation]:
    # Only looks need the pods.
    return play.enforced(None, round_, deadline)  # type: ignore[arg-type]


def test_what_is_as_the_api_says_twice_over_is_enforced(looks: Callable[[list[Look]], list[str]]) -> None:
    kinds, one = looks([LEAKING, SILENT, SILENT]), Round(1, (), dict(WANTED))
    final = settled(one)
    assert kinds == ["quick", "quick", "sure"]
    assert not play.leaked(final[SHUT])
    assert one.seconds is not None
    assert one.looks == 2


@pytest.mark.parametrize("late", [LEAKING, LEAKING_ONCE])
def test_silence_of_a_slow_machine_is_no_policy(late: Look, looks: Callable[[list[Look]], list[str]]) -> None:
    """Seen with cilium on two processors: quick looks timed out, while the agent of a node was still at work."""
    kinds, one = looks([SILENT, late, LEAKING, SILENT, SILENT]), Round(1, (), dict(WANTED))
    final = settled(one)
    assert kinds == ["quick", "sure", "quick", "quick", "sure"]
    assert not play.leaked(final[SHUT])
    assert one.seconds is not None


def test_what_never_ends_to_leak_is_seen(looks: Callable[[list[Look]], list[str]]) -> None:
    looks([SILENT, LEAKING])
    one = Round(1, (), dict(WANTED))
    with timeouts.paced(1.0):
        final = settled(one, 0.2)
    assert play.leaked(final[SHUT])
    assert one.seconds is None


def test_what_a_variant_declares_not_to_do_holds_nobody_up(looks: Callable[[list[Look]], list[str]]) -> None:
    kinds, one = looks([LEAKING]), Round(1, (), dict(WANTED), waived=frozenset({SHUT}))
    final = settled(one)
    assert kinds == ["quick", "sure"]
    assert play.leaked(final[SHUT]), "it is recorded all the same"
