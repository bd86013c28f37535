"""How fast one pod reaches another: one measurement at a time, so that none disturbs another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from harness.model.disturbed import Speed
from harness.probes.agent import run_at
from harness.probes.answers import line_of
from harness.probes.plan import Prober, Target

Kind = Literal["throughput", "rounds", "setups"]

FLOW_MS = 500
"""How long an upload lasts, in milliseconds."""

ROUNDS = 1000
"""Questions and answers over one connection."""

SETUPS = 300
"""Connections, one after the other."""

DEADLINE = 20.0
"""Seconds for one measurement, before scaling."""

_REQUESTS: Mapping[Kind, Mapping[str, Any]] = {
    "throughput": {"kind": "flow", "for_ms": FLOW_MS},
    "rounds": {"kind": "rounds", "count": ROUNDS, "size": 64},
    "setups": {"kind": "churn", "sequential": SETUPS, "parallel": 0},
}


def measure(site: Prober, target: Target, kind: Kind, *, batch: str, trial: int) -> Speed:
    """Measure once.

    Args:
        site: Who sends.
        target: To whom.
        kind: What.
        batch: As the observation will say.
        trial: Which of several times.
    """
    line = line_of(run_at(site, [{**_REQUESTS[kind], "id": "0", "dial": target.dial}], DEADLINE), 0)
    amounts = {"throughput": "received", "rounds": "connected", "setups": "connected"}
    return Speed.model_validate({
        "batch": batch, "purpose": kind, "trial": trial,
        "src": site.name, "src_node": site.node, "dst": target.name, "dst_node": target.node, "dial": target.dial,
        "outcome": line["outcome"], "errno": line.get("errno", 0), "token": line.get("token", ""),
        "amount": line.get(amounts[kind], 0), "ms": line.get("ms", 0.0),
        "p50_us": line.get("p50_us"), "p99_us": line.get("p99_us"), "detail": line.get("detail", ""),
    })  # fmt: skip
