"""A program in a container with an input of its own: the way to the cluster comes first, the rest is the program's."""

from __future__ import annotations

import os
from typing import Any

from harness.cluster import relay


class Sink:
    """Stands for the stream."""

    def __init__(self, *, broken: bool = False) -> None:
        self.data, self.ended, self.broken = b"", False, broken

    def write(self, data: bytes) -> None:
        if self.broken:
            msg = "the program has ended"
            raise OSError(msg)
        self.data += data

    def end_input(self) -> None:
        self.ended = True


def fed(text: bytes, sink: Any) -> str:
    source, feed = os.pipe()
    try:
        os.write(feed, text)
        os.close(feed)
        first = relay._line(source)
        relay._feed(sink, source)
    finally:
        os.close(source)
    return first


def test_the_first_line_is_the_way_and_the_rest_is_the_programs() -> None:
    sink = Sink()
    assert fed(b'{"server": "x"}\n{"plan": 1}\nend\n', sink) == '{"server": "x"}\n'
    assert (sink.data, sink.ended) == (b'{"plan": 1}\nend\n', True)


def test_an_input_that_ends_early_is_no_endless_wait() -> None:
    sink = Sink()
    assert fed(b"half", sink) == "half"
    assert (sink.data, sink.ended) == (b"", True)


def test_a_program_that_has_ended_takes_nothing_and_that_is_no_failure() -> None:
    sink = Sink(broken=True)
    fed(b"{}\nmore", sink)
    assert not sink.ended
