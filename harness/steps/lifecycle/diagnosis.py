"""Why a pod network did not come up: what its agents said last, and what doctor says of the same thing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from harness.cluster.kube import Kube
from harness.cni import catalogue
from harness.errors import BringUpError, CnilabError
from harness.steps.doctor.checks import CHECKS
from harness.steps.doctor.examine import examine
from harness.steps.doctor.model import Finding, Plan
from harness.steps.lifecycle.attach import Attached

Object = dict[str, Any]

SIGNS: Final[Mapping[str, re.Pattern[str]]] = {
    check: re.compile(pattern, re.IGNORECASE)
    for check, pattern in {
        "inotify": r"inotify|too many open files",
        "memory": r"OOMKilled|out of memory|cannot allocate memory",
        "disk-state": r"no space left on device|disk quota exceeded",
        "neighbours": r"neighbour table overflow",
        "bpf": r"bpf\S* .*(not permitted|not mounted|not supported|invalid argument)|bpf ?fs",
        "vxlan": r"vxlan.*(not supported|no such device|invalid argument)",
        "geneve": r"geneve.*(not supported|no such device|invalid argument)",
        "wireguard": r"wireguard.*(not supported|no such device|unable|failed)",
        "ipset": r"\bipset\b",
        "esp": r"\b(xfrm|ipsec)\b.*(not supported|failed|unable)",
        "iptables": r"iptables.*(not found|no such file|can't initialize|permission denied)",
    }.items()
}
"""What in an agent's words points at which check of doctor."""

_TROUBLE: Final = re.compile(r"level=(warn|error|fatal)|^[EF]\d{4} |panic:|\berror: ", re.IGNORECASE)
_LINES: Final = 4


def diagnose(error: BringUpError, ready: Attached) -> BringUpError:
    """Add to a failure what the network's agents said last, and the findings of doctor that match.

    Args:
        error: Why the wait ended.
        ready: The lab, as far as it came.
    """
    words = [] if "exits again and again" in error.what else list(last_words(ready.kube, ready.variant.workloads))
    error.cause = "\n".join(filter(None, [error.cause, *words]))
    error.notes += notes(error.cause, ready)
    error.next_step = (
        error.next_step or "keep the failed cluster with 'cnilab up --retain' and examine it: kubectl logs, describe"
    )
    return error


def last_words(api: Kube, workloads: Collection[str]) -> Iterator[str]:
    """What the containers of workloads said last that are not ready: their troubles, or else their last lines.

    Args:
        api: The cluster.
        workloads: namespace/kind/name.
    """
    places = [(one.split("/")[0], f"{one.split('/')[2]}-") for one in workloads]
    with suppress(CnilabError):
        for pod in api.list("v1", "Pod"):
            namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
            if any(namespace == space and name.startswith(prefix) for space, prefix in places):
                yield from _words(api, pod)


def _words(api: Kube, pod: Object) -> Iterator[str]:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    for status in pod["status"].get("containerStatuses") or ():
        if status["ready"]:
            continue
        waiting = (status["state"].get("waiting") or {}).get("reason", "")
        yield f"{status['name']} of {namespace}/{name} is not ready{f': {waiting}' if waiting else ''}"
        with suppress(CnilabError):
            lines = api.logs(namespace, name, status["name"]).strip().splitlines()
            yield from ([line for line in lines if _TROUBLE.search(line)] or lines)[-_LINES:]


def notes(words: str, ready: Attached) -> list[str]:
    """What doctor says of everything that the words point at, and of what the lab needs of the kernel."""
    needs = catalogue.needs(ready.spec)
    pointed = {check for check, sign in SIGNS.items() if sign.search(words)}
    checks = [check for check in CHECKS if check.id in pointed or check.id in needs]
    findings = examine(Plan(ready.spec, ready.state, ready.state), checks=checks)
    wrong = [_told(one) for one in findings if one.status != "ok"]
    if wrong:
        return wrong
    fine = ", ".join(f"{one.check.title} ({one.detail})" if one.detail else one.check.title for one in findings)
    return [f"doctor found no problem with {fine}"] if fine else []


def _told(finding: Finding) -> str:
    parts = [finding.detail or finding.check.consequence, finding.fix]
    return f"doctor, {finding.check.title}: " + "; ".join(filter(None, parts))
