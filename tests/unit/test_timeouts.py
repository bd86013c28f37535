from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import timeouts
from harness.errors import BringUpError, CnilabError, NotYetError


@pytest.mark.parametrize(("factor", "wait", "cleaning"), [(0.05, 0.5, 10.0), (1.0, 10.0, 10.0), (4.0, 40.0, 40.0)])
def test_a_factor_stretches_all_deadlines_and_hurries_waits_alone(factor: float, wait: float, cleaning: float) -> None:
    with timeouts.paced(factor):
        assert timeouts.scaled(timeouts.PROCESS_EXIT) == pytest.approx(wait)
        assert timeouts.stretched(timeouts.PROCESS_EXIT) == pytest.approx(cleaning)


@pytest.mark.usefixtures("clock")
def test_a_factor_holds_until_its_block_ends_however_that_is() -> None:
    with timeouts.paced(3):
        with pytest.raises(BringUpError, match="waited 5 s"), timeouts.paced(5):
            timeouts.wait_until("it", lambda: None, 1)
        assert timeouts.factor() == 3
    assert timeouts.factor() == 1


def test_threads_of_a_pool_wait_as_long_as_everybody() -> None:
    with timeouts.paced(7), ThreadPoolExecutor() as pool:
        assert pool.submit(timeouts.scaled, 2).result() == 14


def test_blocks_of_several_threads_end_without_each_other() -> None:
    """Each ends only after the other has begun; in the order in which they began."""
    first, second = timeouts.paced(2), timeouts.paced(3)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(first.__enter__).result()
        pool.submit(second.__enter__).result()
        pool.submit(first.__exit__, None, None, None).result()
        assert timeouts.factor() == 3
        pool.submit(second.__exit__, None, None, None).result()
    assert timeouts.factor() == 1


@pytest.mark.parametrize("factor", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_factor_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="finite number above zero"), timeouts.paced(factor):
        pass
    assert timeouts.factor() == 1


def test_a_program_of_ours_that_is_started_hears_the_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    with timeouts.paced(2.5):
        assert timeouts.heard(timeouts.variables()) == 2.5
    assert timeouts.heard({}) == 1
    monkeypatch.setenv(timeouts.VARIABLE, "9")
    assert timeouts.factor() == 1  # of this process it is said by who started it, and only there


class Clock:
    """Time that passes only where it is said."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("factor", "pause"), [(1, 0.25), (8, 1.2)])
def test_a_look_that_took_long_is_followed_by_a_short_pause_but_on_slow_machines(
    factor: float, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(timeouts, "time", clock)
    starts = []
    with timeouts.paced(factor):
        for elapsed in timeouts.ticks(10):
            starts.append(elapsed)
            clock.now += 1.2
            if len(starts) == 2:
                break
    assert starts == [0.0, pytest.approx(1.2 + pause)]


def test_quick_looks_become_rarer_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
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


def test_a_wait_for_many_has_its_deadline_for_the_next_of_them(clock: Clock) -> None:
    """One that was late is not the fault of those after it: the wait ends when nothing moves for as long as it has."""

    def some(number: int, looks: int) -> list[CnilabError | str | None]:
        return [NotYetError(f"{number} pods", left=number)] * looks

    looks = itertools.chain(some(3, 100), some(2, 100), some(1, 100), ["there"])
    assert timeouts.wait_until("them", raising(iter(looks)), 30) == "there"
    assert clock.now > 60
    start = clock.now
    stuck = itertools.chain(some(3, 100), itertools.repeat(NotYetError("2 pods", left=2)))
    with pytest.raises(BringUpError, match="waited 30 s for them"):
        timeouts.wait_until("them", raising(stuck), 30)
    assert 50 < clock.now - start < 70
    # More than before is no step forward, and the same as once before is none either.
    start = clock.now
    to_and_fro = itertools.cycle([*some(2, 10), *some(3, 10)])
    with pytest.raises(BringUpError):
        timeouts.wait_until("them", raising(to_and_fro), 30)
    assert clock.now - start < 35


def test_what_is_not_there_yet_may_take_as_long_as_the_wait() -> None:
    assert NotYetError("x").patience == math.inf
    assert CnilabError("x").patience == 0
