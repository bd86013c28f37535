from __future__ import annotations

import itertools

import pytest

from harness import timeouts


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
