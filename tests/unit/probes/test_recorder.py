from __future__ import annotations

import json

import pytest

from harness.errors import BringUpError
from harness.probes.recorder import Recorder
from tests.unit.probes import fake

LINE = {
    "t": "2026-11-21T15:00:00.000000Z",
    "proto": "udp",
    "src": "172.18.0.11",
    "sport": 5,
    "dst": "8.8.8.8",
    "nonce": "ab",
}


def router(log: str) -> fake.FakeNode:
    def answer(argv: tuple[str, ...], _input: str) -> str:
        if argv[0] == "stat":
            return f"{len(log)}\n"
        return log[int(argv[2]) - 1 :]

    return fake.node("router", "172.18.0.1", answer)


def test_only_what_came_after_the_mark_is_read() -> None:
    first, second = json.dumps(LINE) + "\n", json.dumps({**LINE, "nonce": "cd", "ttl": 63}) + "\n"
    mark = Recorder(router(first)).mark()
    (seen,) = Recorder(router(first + second)).since(mark)
    assert (seen.nonce, seen.src, seen.ttl) == ("cd", "172.18.0.11", 63)


def test_a_line_that_is_being_written_waits_for_the_next_time() -> None:
    whole = json.dumps(LINE) + "\n"
    assert len(Recorder(router(whole + whole[:-1])).since()) == 1


def test_a_probe_that_never_arrives_is_missed_within_the_deadline() -> None:
    recorder = Recorder(router(json.dumps(LINE) + "\n"))
    assert [one.nonce for one in recorder.wait(0, {"ab"}, 0.05)] == ["ab"]
    with pytest.raises(BringUpError, match="1 probes in the log of router") as caught:
        recorder.wait(0, {"ef"}, 0.05)
    assert caught.value.cause == "last seen: 1 have not arrived: ef"
