"""Which build goes first."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from harness.components.turns import Turns


def nothing() -> None:
    """A check that never gives up."""


def interrupted() -> None:
    """A check that gives up."""
    raise InterruptedError


class Builds:
    """Starts builds in threads, and lets them end one by one."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.started: list[str] = []
        self.ends: dict[str, threading.Event] = {}
        self.threads: dict[str, threading.Thread] = {}
        self.news = threading.Condition()

    def start(self, *names: str) -> None:
        for name in names:
            self.ends[name] = threading.Event()
            self.threads[name] = threading.Thread(target=self._run, args=(name,))
            self.threads[name].start()

    def _run(self, name: str) -> None:
        with self.turns.turn(name, nothing):
            with self.news:
                self.started.append(name)
                self.news.notify_all()
            self.ends[name].wait(10)

    def end(self, *names: str) -> None:
        for name in names:
            self.ends[name].set()
            self.threads[name].join(10)

    def running(self, wanted: list[str], within: float = 5) -> bool:
        with self.news:
            return self.news.wait_for(lambda: self.started == wanted, timeout=within)


@pytest.fixture
def builds() -> Callable[[int, dict[str, float]], Builds]:
    def make(slots: int, expected: dict[str, float]) -> Builds:
        turns = Turns(slots)
        turns.expect(expected)
        return Builds(turns)

    return make


def test_a_slot_is_kept_for_a_longer_build_that_may_still_come(
    builds: Callable[[int, dict[str, float]], Builds],
) -> None:
    run = builds(2, {"long": 300, "short": 50, "tiny": 5})
    run.start("short")
    assert run.running(["short"])
    run.start("tiny")
    assert not run.running(["short", "tiny"], within=0.3)
    run.start("long")
    assert run.running(["short", "long"])
    run.end("short")
    assert run.running(["short", "long", "tiny"])
    run.end("long", "tiny")


def test_what_comes_from_elsewhere_keeps_no_slot(builds: Callable[[int, dict[str, float]], Builds]) -> None:
    run = builds(2, {"long": 300, "middle": 100, "short": 50})
    run.start("middle")
    assert run.running(["middle"])
    run.start("short")
    assert not run.running(["middle", "short"], within=0.3)
    run.turns.forget("long")
    assert run.running(["middle", "short"])
    run.end("middle", "short")


def test_the_only_slot_is_never_idle(builds: Callable[[int, dict[str, float]], Builds]) -> None:
    run = builds(1, {"long": 300, "short": 50})
    run.start("short")
    assert run.running(["short"])
    run.start("long")
    run.end("short")
    assert run.running(["short", "long"])
    run.end("long")


def test_a_build_that_only_links_leaves_its_slot_once() -> None:
    turns = Turns(1)
    turns.expect({"long": 300, "short": 50})
    with turns.turn("long", nothing) as leave:
        leave()
        leave()
        with turns.turn("short", nothing), pytest.raises(InterruptedError), turns.turn("third", interrupted):
            pytest.fail("there is one slot")
    with turns.turn("fourth", nothing), pytest.raises(InterruptedError), turns.turn("fifth", interrupted):
        pytest.fail("there is one slot")


def test_of_those_that_wait_the_longest_goes_first(builds: Callable[[int, dict[str, float]], Builds]) -> None:
    run = builds(1, {"first": 1000, "a": 10, "b": 30, "c": 20})
    run.start("first")
    assert run.running(["first"])
    run.start("a", "b", "c")
    for done, following in (("first", "b"), ("b", "c"), ("c", "a")):
        expected = [*run.started, following]
        run.end(done)
        assert run.running(expected)
    run.end("a")


def test_a_build_that_is_cancelled_while_it_waits_leaves_the_queue() -> None:
    turns = Turns(1)
    turns.expect({"first": 500, "long": 300, "short": 5})
    with turns.turn("first", nothing), pytest.raises(InterruptedError), turns.turn("short", interrupted):
        pytest.fail("it must not start")
    with turns.turn("long", nothing):
        pass
