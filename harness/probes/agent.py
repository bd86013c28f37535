"""Probes from many places at once: one program run per place and batch, whatever the number of pairs.

A plan is a list of probes for each site. The agent (`responder run`) gets its site's plan as JSON on standard input,
runs all its sockets at the same time, and prints one line of JSON per probe. All sites run at the same time too, so a
batch takes as long as its slowest probe, and red legs cost the deadline once.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from harness import timeouts
from harness.errors import CnilabError
from harness.model.records import Observation
from harness.probes import answers
from harness.probes.plan import (
    CONTAINER_BINARY,
    NODE_BINARY,
    BindProbe,
    BurstProbe,
    ChurnProbe,
    ExchangeProbe,
    LookupProbe,
    Probe,
    Prober,
    RungProbe,
    Target,
)
from harness.runner import ConnectionLostError

__all__ = [
    "CONTAINER_BINARY",
    "NODE_BINARY",
    "BindProbe",
    "BurstProbe",
    "ChurnProbe",
    "ExchangeProbe",
    "LookupProbe",
    "Probe",
    "Prober",
    "RungProbe",
    "Target",
    "run_plans",
]

AGENT_START = 10.0
"""Seconds an agent may need beyond its deadline on a busy machine."""


def run_plans(
    plans: Mapping[Prober, Sequence[Probe]], *, batch: str, deadline: float = 2.5, retries: int = 2
) -> list[Observation]:
    """Run every site's probes at the same time, one program run per site.

    A probe that did not end as it expected is tried again, at most `retries` times, after all others had their turn;
    every attempt is in the record. Tries share the deadline evenly, so a batch never takes longer than it.

    Args:
        plans: Probes by site. Sites with an empty plan run nothing.
        batch: B1, B2 …, as the observations will say.
        deadline: Seconds for the whole batch, tries included, before scaling.
        retries: Further attempts at a failed probe.

    Returns:
        One observation per probe, in the order of the plans. When an agent could not be run at all, its probes
        have outcome `error` and the reason as `detail`.
    """
    work = {site: list(probes) for site, probes in plans.items() if probes}
    if not work:
        return []
    requests = _requests(work)
    with ThreadPoolExecutor(max_workers=min(64, len(work)), thread_name_prefix="agent") as pool:
        outputs = dict(
            zip(
                work,
                pool.map(lambda site: run_at(site, requests[site], deadline, retries), work),
                strict=True,
            )
        )
    counts = answers.burst_counts(line for lines in outputs.values() for line in lines.values())
    return [
        answers.observation(site, probe, batch, answers.line_of(outputs[site], index), counts)
        for site, probes in work.items()
        for index, probe in enumerate(probes)
    ]


def _requests(work: Mapping[Prober, Sequence[Probe]]) -> dict[Prober, list[dict[str, Any]]]:
    """The plan of each site as the agent reads it, with the counting of bursts added at their receivers."""
    stamp = uuid.uuid4().hex[:12]
    names = {site.name: site for site in work}
    plans: dict[Prober, list[dict[str, Any]]] = {site: [] for site in work}
    for number, (site, probes) in enumerate(work.items()):
        for index, probe in enumerate(probes):
            request = answers.request(probe) | {"id": str(index)}
            if isinstance(probe, BurstProbe):
                request["burst"] = f"{stamp}-{number}-{index}"
                receiver = names.get(probe.target.name)
                request["ask"] = receiver is None
                if receiver is not None:
                    plans[receiver].append(
                        {
                            "id": f"collect-{request['burst']}",
                            "kind": "collect",
                            "burst": request["burst"],
                            "count": probe.count,
                            "dial": f"127.0.0.1:{probe.target.port}",
                        }
                    )
            plans[site].append(request)
    return plans


def run_at(
    site: Prober, probes: Sequence[Mapping[str, Any]], deadline: float, retries: int = 0
) -> dict[str, dict[str, Any]]:
    """Run one agent; its lines by probe id, or one line with id `failure` when it could not be run.

    Args:
        site: Where.
        probes: As the agent reads them.
        deadline: Seconds for all of them, before scaling.
        retries: Further attempts at a failed probe.
    """
    plan = {"deadline_ms": round(timeouts.scaled(deadline) * 1000), "retries": retries, "probes": list(probes)}
    words = [site.binary, "run"]
    ask = partial(site.runner.run, words, input=json.dumps(plan), timeout=deadline + AGENT_START, check=True)
    try:
        try:
            done = ask()
        except ConnectionLostError:
            done = ask()  # what became of the first agent nobody knows, and what it asked can be asked again
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    except (CnilabError, json.JSONDecodeError) as error:
        return {"failure": {"id": "failure", "outcome": "error", "detail": str(error)}}
    return {str(line["id"]): line for line in lines}
