"""Waiting for a lab while watching its services: a program that exits again and again is the cause, not a time-out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from harness import timeouts
from harness.cluster.kube import ApiError, Kube, Object
from harness.errors import BringUpError, CnilabError
from harness.model.labstate import LabDir
from harness.providers.registry import driver_of

T = TypeVar("T")

LAST = 3
"""Lines of a log that are told."""

GIVE_UP_AFTER = 4
"""Exits of one service or container during bring-up; one or two happen while others are not up yet."""

_BLAMED_FROM = 2
"""Exits from which a service may be why a wait failed. It is started again at once: one exit alone says little."""

_PODS_EVERY = 1.0
"""Seconds between looks at pods: a list of all costs the API server more than what is waited for."""


class Watchdog:
    """Polls for a condition, and gives up at once when a service of the lab exits again and again.

    Args:
        place: The lab's directories.
        api: Asked for warnings about pods when a wait fails.
    """

    def __init__(self, place: LabDir, api: Kube | None = None) -> None:
        self._place = place
        self._exits = driver_of(place).exits
        self._before = {(one.machine, one.service): one.count for one in self._exits(place)}
        self._api = api
        self._pods_seen = 0.0
        self._restarts: dict[tuple[str, str], int] | None = None

    def until(self, what: str, probe: Callable[[], T | None], deadline: float) -> T:
        """Wait until the probe returns something other than None or False.

        Args:
            what: What is waited for.
            probe: The condition.
            deadline: Seconds, before scaling.

        Raises:
            BringUpError: A service died too often, or the deadline passed; with what the probe saw last, and with the
                last words of services that died.
            CnilabError: The probe's own, when time cannot heal it. No service is to blame for that, and no pod.
        """

        def guarded() -> T | None:
            try:
                value = probe()
            except CnilabError as error:
                if error.patience:
                    self._check(what, error)
                raise
            if value is None or value is False:
                self._check(what)
            return value

        try:
            return timeouts.wait_until(what, guarded, deadline)
        except ApiError as error:
            error.notes.append(f"it ended the wait for {what}: waiting longer does not help")
            raise
        except BringUpError as error:
            if self._api is not None:
                error.cause = "\n".join(filter(None, [error.cause, *pod_troubles(self._api)]))
            raise explain(error, self._place) from error.__cause__

    def _check(self, what: str, seen: CnilabError | None = None) -> None:
        for one in self._exits(self._place):
            if one.count - self._before.get((one.machine, one.service), 0) >= GIVE_UP_AFTER:
                msg = f"{one.service} on {one.machine} exits again and again while the cluster waits for {what}"
                raise BringUpError(msg, cause=one.status) from seen
        if self._api is not None and time.monotonic() - self._pods_seen >= _PODS_EVERY:
            self._pods_seen = time.monotonic()
            for failure in self._dying(self._api):
                msg = f"{failure.container} exits again and again while the cluster waits for {what}"
                raise BringUpError(msg, cause=last_words(self._api, failure), where=failure.pod)

    def _dying(self, api: Kube) -> list[Dying]:
        """Containers that ended too often since the first look: before that, what they need may have been absent."""
        try:
            pods = api.list("v1", "Pod")
        except CnilabError:
            return []
        if self._restarts is None:
            self._restarts = restarts(pods)
        return dying_containers(pods, self._restarts)


@dataclass(frozen=True)
class Dying:
    """A container that ends again and again.

    Args:
        container: Its name.
        pod: Of the pod: namespace/name on node.
        ended: How it ended.
        message: The end of its log, where its pod asks the kubelet to keep that.
        key: Namespace and name of the pod.
    """

    container: str
    pod: str
    ended: str
    message: str = ""
    key: tuple[str, str] = ("", "")


def last_words(api: Kube, failure: Dying) -> str:
    """How a container ended, and what it said last.

    Args:
        api: Has its log, where the kubelet does not keep the end of it.
        failure: The container.
    """
    message = failure.message
    if not message:
        with suppress(CnilabError):  # its node may be out of reach, or its log gone
            message = api.logs(*failure.key, failure.container, LAST, previous=True)
    return "\n".join([failure.ended, *message.strip().splitlines()[-LAST:]])


def restarts(pods: Iterable[Object]) -> dict[tuple[str, str], int]:
    """How often each container has ended, by its pod's UID and its name."""
    return {(pod["metadata"]["uid"], status["name"]): status["restartCount"] for pod, status in _containers(pods)}


def dying_containers(pods: Iterable[Object], before: Mapping[tuple[str, str], int]) -> list[Dying]:
    """Containers that are not ready and have ended too often.

    Args:
        pods: As they are now.
        before: `restarts` of an earlier look; what it counts is forgiven.
    """
    return [
        Dying(
            status["name"],
            f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']} on {pod['spec'].get('nodeName', '?')}",
            *_ending(status),
            (pod["metadata"]["namespace"], pod["metadata"]["name"]),
        )
        for pod, status in _containers(pods)
        if status["restartCount"] - before.get((pod["metadata"]["uid"], status["name"]), 0) >= GIVE_UP_AFTER
        and not status["ready"]
    ]


def _containers(pods: Iterable[Object]) -> Iterator[tuple[Object, Object]]:
    return ((pod, status) for pod in pods for status in pod["status"].get("containerStatuses", ()))


def _ending(status: dict[str, Any]) -> tuple[str, str]:
    """How a container ended, and its termination message."""
    ended = (status.get("lastState") or {}).get("terminated") or (status.get("state") or {}).get("terminated") or {}
    words = f"ended {status['restartCount']} times, exit code {ended.get('exitCode', '?')}"
    return words, (ended.get("message") or "").strip()


def pod_troubles(api: Kube, most: int = 3) -> list[str]:
    """What the cluster itself says is wrong with its pods: the latest warnings, each once."""
    try:
        events = api.list("v1", "Event", fields="type=Warning")
    except CnilabError:
        return []
    events.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    seen: dict[str, str] = {}
    for event in events:
        about = event["involvedObject"]
        seen[f"{about['kind']} {about['name']} {event['reason']}"] = event["message"]
    return [f"{what}: {message}" for what, message in list(seen.items())[-most:]]


def explain(error: CnilabError, place: LabDir) -> CnilabError:
    """Add to an error which services died, and what the most restless one said last.

    One exit alone is but noted, as is a service that waits for another.
    """
    dead = sorted(driver_of(place).exits(place), key=lambda one: one.count, reverse=True)
    restless = [one for one in dead if one.count >= _BLAMED_FROM]
    facts = [f"{one.service} on {one.machine} ended {one.count} times: {one.status}" for one in restless]
    error.notes += [
        f"{one.service} on {one.machine} exited once and was started again: {one.status}"
        for one in dead
        if one.count == 1 and not one.waits
    ]
    idle: dict[str, list[str]] = {}
    for one in dead:
        if one.waits:
            idle.setdefault(one.waits, []).append(f"{one.service} on {one.machine}")
    error.notes += [f"not started yet: {', '.join(names)}, waiting for {waits}" for waits, names in idle.items()]
    if restless:
        error.cause = "\n".join(filter(None, [error.cause, *facts, restless[0].last_words()]))
        error.log = error.log or restless[0].log
    return error
