"""Taps: tcpdump at several places while probes run, decoded afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.model.records import Tap
from harness.runner import Runner

SNAPLEN = 256
"""Bytes kept of each frame: all headers of a VXLAN packet, and no secrets of its payload."""


@dataclass(frozen=True)
class TapPoint:
    """A place to listen at.

    Args:
        node: Name of the node.
        place: Pod name, or the node's.
        interface: eth0, cni0, flannel.1 …
        runner: Runs the node's programs in the network namespace that has the interface.
        filter: pcap filter expression; empty for everything.
    """

    node: str
    place: str
    interface: str
    runner: Runner = field(repr=False, compare=False, hash=False)
    filter: str = ""


class Taps:
    """Running taps; `stop` ends them and gives what they saw."""

    def stop(self) -> list[Tap]:
        """End the captures and decode them. Idempotent."""
        raise NotImplementedError


@contextmanager
def listen(points: Sequence[TapPoint], *, flow: str, batch: str, run: Path, name: str = "") -> Iterator[Taps]:
    """Listen at all points while the body runs.

    Every tap is proved by a marked frame (a canary, ethertype 0x88b5) sent out of its interface after it said
    "listening on" and again at the end: the first shows that it records, the second that all before it is in the file.

        with listen(points, flow="a>c icmp", batch="B2", run=run.path) as taps:
            run_plans(…)
        records = taps.stop()

    Args:
        points: In the order of the path, from the sender.
        flow: Which traffic: 'a>c icmp'.
        batch: As of the observations.
        run: The run directory; files go to its `captures/`.
        name: Stem of the file names; made from the flow by default.

    Raises:
        CommandError: A tap did not start.
    """
    raise NotImplementedError
    yield Taps()
