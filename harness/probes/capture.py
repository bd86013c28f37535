"""Taps: tcpdump at several places while probes run, decoded afterwards.

A tap proves itself: marked frames (canaries) go out of its interface when tcpdump said "listening on", and again when
the capture ends. The first shows that the tap records, the second that everything before it is in the file. So "no
packet seen" is a finding and not a broken tap.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness import timeouts
from harness.errors import CnilabError
from harness.model.records import Tap
from harness.probes import decode, pcap
from harness.probes.plan import NODE_BINARY
from harness.runner import CommandError, Runner

SNAPLEN = 256
"""Bytes kept of each frame: all headers of a VXLAN packet, and little of its payload."""

CANARY_DEADLINE = 2.0
"""Seconds until a marked frame must be in the file."""

_CANARY_FILTER = f"ether proto {decode.CANARY_TYPE:#06x}"

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class TapPoint:
    """A place to listen at.

    Args:
        node: Name of the node.
        place: Pod name, or the node's.
        interface: eth0, cni0, flannel.1 … Marked frames need an Ethernet interface; `any` has none.
        runner: Runs the node's programs in the network namespace that has the interface: `node.runner`, or
            `inventory.netns_runner(sandbox)`.
        filter: pcap filter expression; empty for everything.
    """

    node: str
    place: str
    interface: str
    runner: Runner = field(repr=False, compare=False, hash=False)
    filter: str = ""

    @property
    def command(self) -> str:
        """The line a person would type there."""
        return f"tcpdump -nn -i {self.interface} {self.filter}".strip()


class _Listener:
    """One running tcpdump."""

    def __init__(self, point: TapPoint, file: Path) -> None:
        self.point, self.file = point, file
        expression = f"({point.filter}) or {_CANARY_FILTER}" if point.filter else ""
        argv = [
            "tcpdump", "-i", point.interface, "-nn", "-U", "--immediate-mode", "-s", str(SNAPLEN), "-w", "-",
            *([expression] if expression else []),
        ]  # fmt: skip
        with file.open("wb") as sink:
            self._process = point.runner.start(argv, stdout=sink, stderr=subprocess.PIPE)
        self._said = b""

    def wait_listening(self) -> None:
        """Return once tcpdump has its socket open; raises `CommandError` with its words when it ends instead."""
        if not self._read_until(b"listening on", timeouts.TAP_LISTENING):
            self.end()
            msg = f"tcpdump on {self.point.interface} of {self.point.place} did not start"
            raise CommandError(msg, cause=self._words(), where=self.point.command, next_step="run 'ip link' there")

    def mark(self, word: str) -> bool:
        """Send a marked frame and wait until the capture has it; False when it never gets there.

        The mark names the file: frames of other taps can arrive here too, over a bridge.
        """
        word = f"{word} {self.file.stem[-36:]}"
        try:
            self.point.runner.run([NODE_BINARY, "canary", self.point.interface, word])
        except CommandError:
            return False
        return any(word in self.marks() for _ in timeouts.ticks(CANARY_DEADLINE, 0.002))

    def marks(self) -> list[str]:
        """The marks of all marked frames in the file so far."""
        found = (decode.canary(frame) for frame in pcap.frames(self.file.read_bytes(), str(self.file)))
        return [word for word in found if word is not None]

    def end(self) -> int:
        """End tcpdump and return how many packets the kernel dropped.

        The signal goes to the process group, because a runner may put a process between us and tcpdump. tcpdump has
        ended when its standard error is closed.
        """
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        self._read_until(None, timeouts.PROCESS_EXIT)
        if self._process.stderr is not None:
            self._process.stderr.close()
        try:
            self._process.wait(timeouts.stretched(timeouts.PROCESS_EXIT))
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        found = re.search(rb"(\d+) packets? dropped by kernel", self._said)
        return int(found[1]) if found else 0

    def _read_until(self, words: bytes | None, deadline: float) -> bool:
        """Read standard error until it says the words, or to its end for None; False when the words never come."""
        stream = self._process.stderr
        if stream is None or stream.closed:
            return words is None
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            for _ in timeouts.ticks(deadline, 0.001, 0.001):
                if words is not None and words in self._said:
                    return True
                if not selector.select(0.2):
                    continue
                data = os.read(stream.fileno(), 4096)
                if not data:
                    return words is None or words in self._said
                self._said += data
        return False

    def _words(self) -> str:
        return self._said.decode(errors="replace").strip() or "nothing printed"


class Taps:
    """Running taps; `stop` ends them and says what they saw.

    Args:
        points: In the order of the path.
        flow: As of `listen`.
        batch: As of `listen`.
        run: As of `listen`.
        name: As of `listen`.
    """

    def __init__(self, points: Sequence[TapPoint], *, flow: str, batch: str, run: Path, name: str = "") -> None:
        self._flow, self._batch, self._run = flow, batch, run
        stem = _safe(name or flow)
        directory = run / "captures"
        directory.mkdir(parents=True, exist_ok=True)
        self._listeners: list[_Listener] = []
        self._taps: list[Tap] | None = None
        self._proved: list[bool] = []
        try:
            for order, point in enumerate(points):
                file = directory / f"{stem}-{order}-{_safe(point.place)}-{_safe(point.interface)}.pcap"
                self._listeners.append(_Listener(point, file))
            _each(self._listeners, _Listener.wait_listening)
            self._proved = _each(self._listeners, lambda listener: listener.mark("start"))
        except CnilabError:
            self._end()
            raise

    def stop(self) -> list[Tap]:
        """End the captures, all at once, and decode them; the same list when called again."""
        if self._taps is None:
            complete = _each(self._listeners, lambda listener: listener.mark("end"))
            dropped = self._end()
            proved = [start and end for start, end in zip(self._proved, complete, strict=True)]
            self._taps = self._decode(proved, dropped)
        return self._taps

    def _end(self) -> list[int]:
        return _each(self._listeners, _Listener.end)

    def _decode(self, proved: Sequence[bool], dropped: Sequence[int]) -> list[Tap]:
        captured = [list(pcap.frames(one.file.read_bytes(), str(one.file))) for one in self._listeners]
        start = min((frame.t_us for frames in captured for frame in frames if decode.canary(frame) is None), default=0)
        return [
            Tap(
                batch=self._batch,
                flow=self._flow,
                order=order,
                node=listener.point.node,
                place=listener.point.place,
                interface=listener.point.interface,
                command=listener.point.command,
                pcap=str(listener.file.relative_to(self._run)),
                packets=decode.packets(frames, start_us=start),
                canary=proved[order],
                dropped=dropped[order],
            )
            for order, (listener, frames) in enumerate(zip(self._listeners, captured, strict=True))
        ]


@contextmanager
def listen(points: Sequence[TapPoint], *, flow: str, batch: str, run: Path, name: str = "") -> Iterator[Taps]:
    """Listen at all points while the body runs.

        with listen(points, flow="a>c icmp", batch="B2", run=run.path) as taps:
            run_plans(…)
        records = taps.stop()

    Args:
        points: In the order of the path, from the sender.
        flow: Which traffic: 'a>c icmp'.
        batch: As of the observations.
        run: The run directory; files go to its `captures/`.
        name: Stem of the file names; made from the flow by default. Files of the same stem are overwritten.

    Raises:
        CommandError: A tap did not start.
    """
    taps = Taps(points, flow=flow, batch=batch, run=run, name=name)
    try:
        yield taps
    finally:
        taps.stop()


def _safe(text: str) -> str:
    """Part of a file name: no separators, nothing hidden."""
    return re.sub(r"[^A-Za-z0-9_.@-]+", "-", text).strip("-.") or "tap"


def _each(listeners: Sequence[S], do: Callable[[S], T]) -> list[T]:
    """Do something with all of them at the same time."""
    if not listeners:
        return []
    with ThreadPoolExecutor(max_workers=len(listeners), thread_name_prefix="tap") as pool:
        return list(pool.map(do, listeners))
