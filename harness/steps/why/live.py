"""A flow's own packets, traced in every network namespace on their way: `cnilab why --trace`.

What is put into a namespace is one table of nftables. It belongs to a program that ends when its standard input does,
so the kernel takes the table away with it, also where this program is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Final, TypeVar

from conformance.causes.traced import counters, grown
from conformance.path.passages import Aim, Passage, by_programs, passages, ruleset
from harness import timeouts
from harness.errors import CnilabError
from harness.model.datapath import DropMonitor
from harness.runner import CommandError, Runner

T = TypeVar("T")

LONGEST: Final = 60
"""Seconds after which a trace ends by itself, if nobody has ended it."""

BEGINS: Final = 5.0
"""Seconds that a trace may need to begin, before scaling."""

QUIET: Final = 1.0
"""Seconds that what was traced may need until it is printed, before scaling."""

_COUNTERS: Final = ("/proc/net/snmp", "/proc/net/netstat", "/proc/net/snmp6")

_NETFILTER, _TRACE_GROUP = "12", 1 << 8
"""NETLINK_NETFILTER, and NFNLGRP_NFTRACE as a bit of a socket's groups (linux/netlink.h, nfnetlink.h)."""


@dataclass(frozen=True)
class Spot:
    """A network namespace in which packets are traced.

    Args:
        name: The place, as a walk names it.
        runner: Runs the node's programs there.
    """

    name: str
    runner: Runner


@dataclass
class Traced:
    """What was seen, once the block is left.

    Args:
        seen: Passages of all places, those of the first place first.
        counted: What kernels counted of packets that they do not carry on, by place.
        untraced: Places without a trace, and why.
    """

    seen: tuple[Passage, ...] = ()
    counted: dict[str, dict[str, int]] = field(default_factory=dict)
    untraced: dict[str, str] = field(default_factory=dict)


@dataclass
class _Trace:
    """One place: the program that owns the table, the one that prints, and what was counted before."""

    spot: Spot
    owner: subprocess.Popen[bytes]
    said: IO[bytes]
    monitor: subprocess.Popen[bytes]
    output: IO[bytes]
    before: dict[str, int]

    def text(self) -> str:
        return _whole(self.output)

    def end(self) -> None:
        """Both programs end; the table goes with its owner."""
        if self.owner.stdin is not None:
            with contextlib.suppress(OSError):
                self.owner.stdin.close()
        _ended(self.monitor, signal.SIGTERM)
        _ended(self.owner, None)
        self.output.close()
        self.said.close()


@dataclass(frozen=True)
class Agent:
    """An agent whose programs may drop packets, and that tells which.

    Args:
        name: Of its node.
        runner: Runs its programs beside it.
        monitor: How it tells.
    """

    name: str
    runner: Runner
    monitor: DropMonitor


@dataclass
class _Watch:
    """A monitor of one agent."""

    agent: Agent
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    def end(self) -> None:
        _ended(self.process, signal.SIGINT)
        self.output.close()


@contextlib.contextmanager
def tracing(spots: Sequence[Spot], aim: Aim, agents: Sequence[Agent] = ()) -> Iterator[Traced]:
    """Trace packets in several places while the body runs. Nothing stays there.

    Args:
        spots: Where.
        aim: Which packets.
        agents: Who tells what programs of eBPF drop.
    """
    found = Traced()
    begun: list[_Trace] = []
    watched: list[_Watch] = []
    try:
        with ThreadPoolExecutor(max_workers=max(1, len(spots) + len(agents))) as pool:
            tracers = {spot.name: pool.submit(_begin, spot, aim) for spot in spots}
            watchers = {f"programs of {agent.name}": pool.submit(_watch, agent) for agent in agents}
            for name, tracer in tracers.items():
                _take(tracer.result(), begun, found.untraced, name)
            for name, watcher in watchers.items():
                _take(watcher.result(), watched, found.untraced, name)
        yield found
        _settle([*begun, *watched])
        found.seen = tuple(_seen(begun, watched, aim))
        found.counted = {each.spot.name: grown(each.before, _counters(each.spot)) for each in begun}
    finally:
        for each in begun:
            each.end()
        for one in watched:
            one.end()


def _take(result: T | str, begun: list[T], failed: dict[str, str], name: str) -> None:
    """Keep what has begun, or why it has not."""
    if isinstance(result, str):
        failed[name] = result
    else:
        begun.append(result)


def _seen(begun: Sequence[_Trace], watched: Sequence[_Watch], aim: Aim) -> Iterator[Passage]:
    """What netfilter and programs told."""
    for each in begun:
        yield from passages(each.spot.name, each.text(), aim)
    for one in watched:
        yield from by_programs(one.agent.name, one.agent.monitor.read(_whole(one.output)), aim)


def _watch(agent: Agent) -> _Watch | str:
    """Start an agent's monitor; why that cannot be, where it cannot."""
    with contextlib.ExitStack() as undo:
        output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the monitor
        undo.callback(output.close)
        try:
            process = agent.runner.start(list(agent.monitor.command), stdout=output, stderr=output)
            undo.callback(_ended, process, signal.SIGTERM)

            def begun() -> bool:
                if process.poll() is not None:
                    msg = f"'{' '.join(agent.monitor.command)}' ended with status {process.returncode}"
                    raise CommandError(msg, cause=_whole(output) or "nothing printed", where=agent.name)
                return agent.monitor.begun in _whole(output)

            timeouts.wait_until(f"the monitor of {agent.name}", begun, BEGINS)
        except (CnilabError, OSError) as error:
            return _why(error)
        undo.pop_all()
        return _Watch(agent, process, output)


def _begin(spot: Spot, aim: Aim) -> _Trace | str:
    """Start to trace in one place; why that cannot be, where it cannot."""
    with contextlib.ExitStack() as undo:
        said, output = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - they live as long as the trace
        undo.callback(said.close)
        undo.callback(output.close)
        try:
            before = _counters(spot)
            owner = spot.runner.start(["nft", "-i"], stdin=subprocess.PIPE, stdout=said, stderr=said)
            undo.callback(_ended, owner, signal.SIGTERM)
            if owner.stdin is not None:
                with contextlib.suppress(BrokenPipeError):  # it has ended already: its output says why
                    owner.stdin.write(ruleset(aim).encode())
                    owner.stdin.flush()
            words = ["timeout", str(LONGEST), "nft", "-a", "monitor", "trace"]
            monitor = spot.runner.start(words, stdout=output, stderr=output)
            undo.callback(_ended, monitor, signal.SIGTERM)
            timeouts.wait_until(
                f"the trace of {spot.name}", lambda: _listens(spot, owner, monitor, said, output), BEGINS
            )
        except (CnilabError, OSError) as error:
            return _why(error)
        undo.pop_all()
        return _Trace(spot, owner, said, monitor, output, before)


def _why(error: Exception) -> str:
    """In one line: what the program said, after what became of it."""
    if not isinstance(error, CnilabError):
        return str(error)
    return ": ".join(filter(None, (error.what, (error.cause.splitlines() or [""])[0])))


def _listens(
    spot: Spot, owner: subprocess.Popen[bytes], monitor: subprocess.Popen[bytes], said: IO[bytes], output: IO[bytes]
) -> bool:
    """The table is there, and a program listens to the kernel's trace; raises CommandError where one has ended."""
    for process, file in ((owner, said), (monitor, output)):
        if process.poll() is not None:
            msg = f"nft of {spot.name} ended with status {process.returncode}"
            raise CommandError(msg, cause=_whole(file) or "nothing printed", where=spot.name)
    if "Error" in _whole(said):
        msg = f"nft of {spot.name} does not take the table that traces"
        raise CommandError(msg, cause=_whole(said), where=spot.name)
    rows = (line.split() for line in spot.runner.run(["cat", "/proc/net/netlink"]).stdout.splitlines()[1:])
    # Columns: socket, protocol, port, groups (net/netlink/af_netlink.c).
    listening = any(row[1] == _NETFILTER and int(row[3], 16) & _TRACE_GROUP for row in rows if len(row) > 3)
    return listening and spot.runner.run(["nft", "list", "table", "inet", "cnilab-trace"], check=False).ok


def _counters(spot: Spot) -> dict[str, int]:
    """A kernel without IPv6 has one file less."""
    return counters(spot.runner.run(["cat", *_COUNTERS], check=False).stdout)


def _settle(begun: Sequence[_Trace | _Watch]) -> None:
    """Wait until no program prints any more: the kernel hands a trace over at once, and a program prints it later."""
    sizes: list[int] = []
    for _ in timeouts.ticks(QUIET, 0.05, 0.05):
        now = [os.fstat(each.output.fileno()).st_size for each in begun]
        if now == sizes:
            return
        sizes = now


def _whole(file: IO[bytes]) -> str:
    """All that was printed; the file's own place stays as it is."""
    number = file.fileno()
    return os.pread(number, os.fstat(number).st_size, 0).decode(errors="replace")


def _ended(process: subprocess.Popen[bytes], number: signal.Signals | None) -> None:
    """A program and what stands before it end: by its standard input, by a signal, and at last by SIGKILL."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    if process.poll() is None and number is not None:
        os.killpg(process.pid, number)
    try:
        process.wait(timeouts.stretched(timeouts.PROCESS_EXIT))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
