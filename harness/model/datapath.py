"""Where a network keeps its eBPF: what an observer of its datapath reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
