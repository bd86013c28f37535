"""Which objects are up, and why the others are not: from what the API says of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from harness.errors import NotYetError

Object = dict[str, Any]

WORKLOADS: Final = ("Pod", "Job", "Deployment", "StatefulSet", "DaemonSet")
"""Kinds that are up some time after they exist."""

NAMED: Final = 10
"""Of those that are not up, as many are named."""


def insist(waiting: Mapping[str, str]) -> None:
    """Have a wait go on as long as something is not up.

    Args:
        waiting: What is not up, and why.

    Raises:
        NotYetError: Something is not.
    """
    if waiting:
        more = len(waiting) - NAMED
        told = [f"{name}: {reason}" for name, reason in list(waiting.items())[:NAMED]]
        raise NotYetError("; ".join([*told, *([f"and {more} more"] if more > 0 else [])]), left=len(waiting))


def insist_on_pods(items: Iterable[Object], names: Collection[str]) -> None:
    """Have a wait go on until all pods of some names are ready.

    Args:
        items: Pods of the API.
        names: As `called` says them.

    Raises:
        NotYetError: Some are not; names them, and why.
    """
    found = {called(item): item for item in items}
    reasons = {name: unready(found[name]) if name in found else "it does not exist" for name in sorted(names)}
    insist({name: reason for name, reason in reasons.items() if reason})


def called(item: Object) -> str:
    """`labs/box1`; of what has no namespace its name."""
    meta = item["metadata"]
    return "/".join(filter(None, [meta.get("namespace", ""), meta["name"]]))


def unready(item: Object) -> str:
    """Why an object is not up; empty when it is, and for kinds that need nothing more than to exist.

    Args:
        item: Of the API.
    """
    if item["metadata"].get("deletionTimestamp"):
        return "it is being deleted"
    if item["kind"] not in WORKLOADS:
        return ""
    status: Mapping[str, Any] = item.get("status") or {}
    if item["kind"] == "Pod":
        return _of_pod(item, status)
    if item["kind"] == "Job":
        return "" if status.get("ready") or status.get("succeeded") else "no pod of it is ready"
    if status.get("observedGeneration", 0) < item["metadata"].get("generation", 0):
        return "its controller has not processed it yet"
    wanted, now = _counts(item, status)
    return "" if now == wanted else f"{now} of {wanted} pods are ready"


def _of_pod(item: Object, status: Mapping[str, Any]) -> str:
    statuses = status.get("containerStatuses") or ()
    if (
        status.get("podIP")
        and len(statuses) == len(item["spec"]["containers"])
        and all(one.get("ready") for one in statuses)
    ):
        return ""
    if not item["spec"].get("nodeName"):
        scheduled = _condition(status, "PodScheduled")
        return str(scheduled.get("message") or "it has no node yet")
    if not status.get("podIP"):
        return f"it has no address yet on {item['spec']['nodeName']}"
    return str(_condition(status, "Ready").get("message") or f"its phase is {status.get('phase') or 'not known yet'}")


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((one for one in status.get("conditions") or () if one["type"] == kind), {})


def _counts(item: Object, status: Mapping[str, Any]) -> tuple[int, int]:
    """Pods that a workload should have, and those that are ready."""
    if item["kind"] == "DaemonSet":
        return status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    return item["spec"].get("replicas", 1), status.get("readyReplicas", 0)
