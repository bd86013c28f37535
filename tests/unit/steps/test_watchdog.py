"""A container that keeps dying ends the wait, and says its last words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.kube import Kube
from harness.errors import BringUpError
from harness.providers.namespaces.layout import LabLayout
from harness.steps.watchdog import GIVE_UP_AFTER, Watchdog, dying_containers


class Api(Kube):
    """An API with pods that get older with each look, and no events."""

    def __init__(self, *looks: list[dict[str, Any]]) -> None:
        self._looks = list(looks)

    def list(self, api_version: str, kind: str, namespace: str = "", labels: str = "", fields: str = "") -> Any:
        del api_version, namespace, labels, fields
        if kind != "Pod":
            return []
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]


def pod(restarts: int, *, ready: bool = False) -> dict[str, Any]:
    message = "\n".join(f"line {number}" for number in range(20)) + "\nlevel=fatal msg=clang version: NOT OK"
    return {
        "metadata": {"namespace": "kube-system", "name": "agent-x", "uid": "one"},
        "spec": {"nodeName": "n1"},
        "status": {
            "containerStatuses": [
                {
                    "name": "agent",
                    "restartCount": restarts,
                    "ready": ready,
                    "lastState": {"terminated": {"exitCode": 1, "message": message}},
                }
            ]
        },
    }


@pytest.mark.parametrize(("restarts", "ready"), [(GIVE_UP_AFTER - 1, False), (GIVE_UP_AFTER + 5, True)])
def test_a_few_ends_and_a_container_that_works_again_are_no_reason(restarts: int, ready: bool) -> None:
    assert dying_containers([pod(restarts, ready=ready)], {}) == []


def test_the_wait_ends_at_once_with_the_containers_last_words(tmp_path: Path) -> None:
    watch = Watchdog(LabLayout(tmp_path, "lab"), Api([], [pod(GIVE_UP_AFTER)]))
    with pytest.raises(BringUpError) as caught:
        watch.until("every node to be Ready", lambda: False, 60)
    error = caught.value
    assert error.what == "agent keeps dying while the lab waits for every node to be Ready"
    assert error.cause.splitlines() == [
        "ended 4 times, exit code 1",
        "line 18",
        "line 19",
        "level=fatal msg=clang version: NOT OK",
    ]
    assert error.where == "pod kube-system/agent-x on n1"


def test_ends_of_a_container_from_before_the_first_look_are_not_counted(tmp_path: Path) -> None:
    """Agents may have been there before what they need: kind's other nodes join while the network starts."""
    watch = Watchdog(LabLayout(tmp_path, "lab"), Api([pod(9)], [pod(9 + GIVE_UP_AFTER - 1)], [pod(9 + GIVE_UP_AFTER)]))
    with pytest.raises(BringUpError) as caught:
        watch.until("every node to be Ready", lambda: False, 60)
    assert caught.value.cause.splitlines()[0] == "ended 13 times, exit code 1"


def test_ends_from_before_the_wait_are_not_counted(tmp_path: Path) -> None:
    """A lab whose network was switched several times has had its kube-proxy ended as often."""
    layout = LabLayout(tmp_path, "lab")
    log = layout.machine("n1").log
    log.mkdir(parents=True)

    def ended(times: int) -> None:
        entry = {"service": "kube-proxy", "status": "signal terminated", "at": "", "count": times}
        (log / "exits.json").write_text(json.dumps(entry) + "\n")

    ended(GIVE_UP_AFTER)
    watch = Watchdog(layout)
    answers = iter([None, None, "there"])
    assert watch.until("something", lambda: next(answers), 60) == "there"
    ended(2 * GIVE_UP_AFTER)
    with pytest.raises(BringUpError, match="kube-proxy on n1 keeps dying"):
        watch.until("something", lambda: False, 60)
