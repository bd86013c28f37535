from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import pytest

from harness import timeouts
from harness.errors import BringUpError, CnilabError, NotYetError


@pytest.mark.parametrize(("factor", "wait", "cleaning"), [("0.05", 0.5, 10.0), ("1", 10.0, 10.0), ("4", 40.0, 40.0)])
def test_a_factor_stretches_all_deadlines_and_hurries_waits_alone(
    factor: str, wait: float, cleaning: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNILAB_TIMEOUT_SCALE", factor)
    assert timeouts.scaled(timeouts.PROCESS_EXIT) == pytest.approx(wait)
    assert timeouts.stretched(timeouts.PROCESS_EXIT) == pytest.approx(cleaning)


class Clock:
    """Time that passes only where it is said."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("factor", "pause"), [("1", 0.25), ("8", 1.2)])
def test_a_look_that_took_long_is_followed_by_a_short_pause_but_on_slow_machines(
    factor: str, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNILAB_TIMEOUT_SCALE", factor)
    clock = Clock()
    monkeypatch.setattr(timeouts, "time", clock)
    starts = []
    for elapsed in timeouts.ticks(10):
        starts.append(elapsed)
        clock.now += 1.2
        if len(starts) == 2:
            break
    assert starts == [0.0, pytest.approx(1.2 + pause)]


def test_quick_looks_become_rarer_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.delenv("CNILAB_TIMEOUT_SCALE", raising=False)
    monkeypatch.setattr(timeouts, "time", clock)
    starts = list(timeouts.ticks(3))
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert pauses[0] == pytest.approx(0.02)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(0.25)
    assert clock.now == pytest.approx(3)


class RefusedError(CnilabError):
    """One that may pass within a while."""

    @property
    def patience(self) -> float:
        return 2.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.delenv("CNILAB_TIMEOUT_SCALE", raising=False)
    monkeypatch.setattr(timeouts, "time", made)
    return made


def raising(looks: Iterator[CnilabError | str | None]) -> Callable[[], str | None]:
    """A probe that answers with what it is given, one after the other."""

    def probe() -> str | None:
        look = next(looks)
        if isinstance(look, CnilabError):
            raise look
        return look

    return probe


@pytest.mark.usefixtures("clock")
def test_a_deadline_names_what_was_seen_last(golden: Callable[[str, str], None]) -> None:
    last = NotYetError("n2 is not Ready", cause="cni plugin not initialized", where="https://127.0.0.1:6443", log="/l")
    looks = itertools.chain([None, NotYetError("n1 is not registered")], itertools.repeat(last))
    with pytest.raises(BringUpError) as caught:
        timeouts.wait_until("every node to be Ready", raising(looks), 90)
    assert caught.value.__cause__ is last
    golden("cluster/refusals/deadline.txt", f"{caught.value}\n")


@pytest.mark.usefixtures("clock")
def test_what_is_over_is_not_named() -> None:
    looks = itertools.chain([NotYetError("a moment")], itertools.repeat(None))
    with pytest.raises(BringUpError) as caught:
        timeouts.wait_until("it", raising(looks), 5)
    assert caught.value.cause == ""


def test_an_error_that_time_does_not_heal_ends_the_wait_at_once(clock: Clock) -> None:
    looks = iter([NotYetError("not yet"), CnilabError("never")])
    with pytest.raises(CnilabError, match="never"):
        timeouts.wait_until("it", raising(looks), 60)
    assert clock.now < 1


def test_an_error_with_a_patience_ends_the_wait_when_it_lasts_for_longer(clock: Clock) -> None:
    with pytest.raises(RefusedError):
        timeouts.wait_until("it", raising(itertools.repeat(RefusedError("refused"))), 60)
    assert 2 <= clock.now < 3


def test_patience_begins_anew_after_another_answer(clock: Clock) -> None:
    # A second of refusals, something else, another second, success: at no time are there two in a row.
    second = [RefusedError("refused")] * 5
    looks = iter([*second, NotYetError("starts again"), *second, None, *second, "there"])
    assert timeouts.wait_until("it", raising(looks), 60) == "there"
    assert clock.now > 2


def test_what_is_not_there_yet_may_take_as_long_as_the_wait() -> None:
    assert NotYetError("x").patience == math.inf
    assert CnilabError("x").patience == 0
