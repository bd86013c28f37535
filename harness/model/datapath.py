"""Where a network keeps its eBPF: what an observer of its datapath reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Drop:
    """A packet that a program of eBPF has dropped.

    Args:
        reason: In the agent's words: `Policy denied`.
        source: Address of its sender.
        target: Address that it was for.
        proto: tcp, udp, icmp; empty for another one.
        sport: Port of its sender; 0: none.
        dport: Port that it was for; 0: none.
        reply: It is the answer to an echo.
    """

    reason: str
    source: str
    target: str
    proto: str = ""
    sport: int = 0
    dport: int = 0
    reply: bool = False


@dataclass(frozen=True)
class DropMonitor:
    """How an agent tells which packets its programs drop.

    Args:
        agent: Name of its process on a node; the command runs beside it.
        command: Prints what is dropped, until it is ended.
        begun: What it prints when it has begun.
        read: Packets in what it printed.
    """

    agent: str
    command: tuple[str, ...]
    begun: str
    read: Callable[[str], Iterable[Drop]]


@dataclass(frozen=True)
class Datapath:
    """Where an agent keeps its eBPF.

    Args:
        pins: Directory of pinned maps.
        cgroup: Group that socket programs are attached to.
        maps: Name of a pinned hash map by what it holds.
        counters: Name of the pinned per-processor map that counts verdicts, by reason and direction in the first two
            bytes of its key; packets and bytes are 64 bits each.
        reasons: What a reason means; others are shown by their number.
    """

    pins: str
    cgroup: str
    maps: Mapping[str, str]
    counters: str
    reasons: Mapping[int, str] = field(default_factory=dict)
