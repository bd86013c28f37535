"""A pod that is made under policies, and dials from its first instant: what it saw is in its log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from conformance.policy import manifests
from conformance.policy.cases import NEW, PREFIX, Catalogue
from harness import timeouts
from harness.cluster.kube import ApiError, Kube, Object
from harness.errors import BringUpError, NotYetError
from harness.model.family import Family, over
from harness.model.records import Observation
from harness.probes import answers
from harness.probes import plan as probes
from harness.probes.answers import Line
from harness.runner import Runner

CHECK: Final = "np.new-pod"
DIALS_FOR: Final = 3.0
"""Seconds from its first instant for which the newcomer dials."""

TRIES: Final = 75
"""Within that time: one every 40 ms, each as long as it takes until the next."""


def probes_of(cases: Catalogue, families: Iterable[Family]) -> list[probes.ExchangeProbe]:
    """What it dials. All should be answered as far as the agent knows: so it goes on where nothing answers."""
    return [
        probes.ExchangeProbe(
            probes.Target(dial.dst, "", cases.world.beyond(family)[dial.dst], dial.port),
            proto=over(dial.proto, family),
            purpose=NEW,
        )
        for family in families
        for dial in cases.newcomer.expected(cases.world, family)
    ]


def start(kube: Kube, cases: Catalogue, families: Sequence[Family], node: str) -> None:
    """Make the pod, instead of one that an earlier run left, and wait for nothing."""
    asked = [answers.request(probe) | {"id": str(number)} for number, probe in enumerate(probes_of(cases, families))]
    plan = {"deadline_ms": round(timeouts.scaled(DIALS_FOR) * 1000), "retries": TRIES - 1, "probes": asked}
    pod = manifests.newcomer(cases.newcomer, node, json.dumps(plan))
    kube.delete([pod])
    kube.apply([pod])


def finish(kube: Kube, cases: Catalogue, families: Sequence[Family], node: str, runner: Runner) -> list[Observation]:
    """Wait until it has dialled, read what it saw, and remove it.

    Args:
        kube: The cluster.
        cases: Whose newcomer.
        families: IP families that it dials over.
        node: Where it runs.
        runner: Stands for the way into the pod, which nobody needs.

    Returns:
        One observation per dial; with outcome `error` where the pod never ran to its end.
    """
    case = cases.newcomer
    namespace = PREFIX + case.namespace
    pod: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": case.name, "namespace": namespace}}
    lines: Mapping[str, Line]
    address = ""
    try:
        address = timeouts.wait_until(
            f"pod {namespace}/{case.name} to have dialled", lambda: _ended(kube, pod), timeouts.POD_RUNNING / 3
        )
        lines = _lines(kube.logs(namespace, case.name))
    except (BringUpError, ApiError) as error:
        lines = {"failure": {"id": "failure", "outcome": "error", "detail": str(error).splitlines()[0]}}
    finally:
        kube.delete([pod], wait=False)
    site = probes.Prober(case.full_name, node, address, runner)
    return [
        answers.observation(site, probe, "B6", answers.line_of(lines, number), {})
        for number, probe in enumerate(probes_of(cases, families))
    ]


def _ended(kube: Kube, pod: Object) -> str:
    """Its address when it has succeeded."""
    found = kube.get("v1", "Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
    status = (found or {}).get("status", {})
    if status.get("phase") == "Succeeded":
        return str(status.get("podIP") or "unknown")
    phase = f"its phase is {status.get('phase', 'unknown')}" if found else "there is no such pod"
    waits = [one.get("state", {}).get("waiting", {}) for one in status.get("containerStatuses") or ()]
    raise NotYetError(phase, cause="\n".join(f"{one.get('reason')}: {one.get('message', '')}" for one in waits if one))


def _lines(log: str) -> dict[str, Line]:
    rows = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return {str(row["id"]): row for row in rows}
