"""Probes that last while something happens: streams of datagrams, and connections that are held.

An agent in each place starts them and goes on until the block is left: see `running`.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.model.disturbed import Held, Stream
from harness.probes.plan import Prober, Target
from harness.probes.running import Line, Running, running

PACE_US = 10_000
"""Microseconds from one datagram of a stream to the next: 100 Hz."""

MANY = 1 << 30
"""More datagrams than any stream has: its receiver counts until no more come."""


@dataclass(frozen=True)
class StreamProbe:
    """A stream in one direction; becomes a `Stream`. The receiver's own agent counts.

    Args:
        target: Whom to send to.
        receiver: Site whose agent counts; the target's own by default.
        size: Payload bytes of each datagram.
    """

    target: Target
    receiver: str = ""
    size: int = 64


@dataclass(frozen=True)
class HoldProbe:
    """A TCP connection that is held; becomes a `Held`.

    Args:
        target: Whom to connect to.
        least_ms: How long at least, in milliseconds.
        size: Payload bytes of a question.
    """

    target: Target
    least_ms: int = 0
    size: int = 64


Probe = StreamProbe | HoldProbe
Plans = Mapping[Prober, Sequence[Probe]]


@dataclass
class Lasting:
    """Probes that run; what they saw is there when the block is left.

    Args:
        batch: As the observations will say.
        purpose: What happens meanwhile.
        trial: Which of several times.
        seen: One record for each probe, in the order of the plans.
    """

    batch: str
    purpose: str
    trial: int = 0
    seen: list[Stream | Held] = field(default_factory=list)


@contextlib.contextmanager
def lasting(plans: Plans, *, batch: str, purpose: str, trial: int = 0) -> Iterator[Lasting]:
    """Run probes at all sites for as long as the body runs.

    Args:
        plans: Probes by site.
        batch: As the observations will say.
        purpose: What happens meanwhile.
        trial: Which of several times.
    """
    found = Lasting(batch, purpose, trial)
    stamp = uuid.uuid4().hex[:12]
    agents = Running()
    try:
        with running(_requests(plans, stamp)) as agents:
            yield found
    finally:
        found.seen = _records(plans, stamp, agents, found)


def _requests(plans: Plans, stamp: str) -> dict[Prober, list[dict[str, Any]]]:
    """What each agent is asked: its probes, and to count the streams that come to its place."""
    names = {site.name: site for site in plans}
    requests: dict[Prober, list[dict[str, Any]]] = {site: [] for site in plans}
    for number, (site, probes) in enumerate(plans.items()):
        for index, probe in enumerate(probes):
            told = {"id": str(index), "dial": probe.target.dial, "size": probe.size}
            if isinstance(probe, HoldProbe):
                requests[site].append({**told, "kind": "hold", "for_ms": probe.least_ms})
                continue
            burst = f"{stamp}-{number}-{index}"
            requests[site].append({**told, "kind": "stream", "burst": burst, "pace_us": PACE_US})
            receiver = names[probe.receiver or probe.target.name]
            dial = f"127.0.0.1:{probe.target.port}"
            requests[receiver].append(
                {"id": f"collect-{burst}", "kind": "collect", "burst": burst, "count": MANY, "dial": dial}
            )
    return requests


def _records(plans: Plans, stamp: str, agents: Running, found: Lasting) -> list[Stream | Held]:
    counts = {
        name.removeprefix("collect-"): line
        for answers in agents.lines.values()
        for name, line in answers.items()
        if name.startswith("collect-") and line.get("counted")
    }
    made: list[Stream | Held] = []
    for number, (site, probes) in enumerate(plans.items()):
        for index, probe in enumerate(probes):
            line = agents.line(site, str(index))
            if isinstance(probe, HoldProbe):
                made.append(_held(site, probe, line, found))
            else:
                made.append(_stream(site, probe, line, counts.get(f"{stamp}-{number}-{index}"), found))
    return made


def _common(site: Prober, target: Target, line: Line, found: Lasting) -> dict[str, Any]:
    return {
        "batch": found.batch, "purpose": found.purpose, "trial": found.trial,
        "src": site.name, "src_node": site.node, "dst": target.name, "dst_node": target.node, "dial": target.dial,
        "errno": line.get("errno", 0), "ms": line.get("ms", 0.0), "detail": line.get("detail", ""),
    }  # fmt: skip


def _held(site: Prober, probe: HoldProbe, line: Line, found: Lasting) -> Held:
    return Held.model_validate(
        _common(site, probe.target, line, found)
        | {
            "before": line.get("before", "error"),
            "outcome": line["outcome"],
            "token": line.get("token", ""),
            "source": line.get("source", ""),
        }
    )


def _stream(site: Prober, probe: StreamProbe, line: Line, count: Line | None, found: Lasting) -> Stream:
    sent: int = line.get("sent", 0)
    received: int | None = count.get("received", 0) if count is not None else None
    outcome = line["outcome"]
    if outcome == "ok":
        outcome = "error" if received is None else "ok" if received >= sent else "lost"
    counted: Line = count or {}
    return Stream.model_validate(
        _common(site, probe.target, line, found)
        | {
            "outcome": outcome,
            "sent": sent,
            "received": received,
            "gap": counted.get("gap", 0),
            "last": counted.get("last", 0),
            "pace_ms": PACE_US / 1000,
            "pause_ms": line.get("pause_ms", 0.0),
        }
    )
