"""A container that exits again and again ends the wait, and says its last words."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.kube import ApiError, Kube
from harness.cluster.refusals import unanswered
from harness.errors import BringUpError, CnilabError, NotYetError
from harness.providers.namespaces.layout import LabLayout
from harness.steps.lifecycle.watchdog import GIVE_UP_AFTER, Watchdog, dying_containers, explain


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
    assert error.what == "agent exits again and again while the cluster waits for every node to be Ready"
    assert error.cause.splitlines() == [
        "ended 4 times, exit code 1",
        "line 18",
        "line 19",
        "level=fatal msg=clang version: NOT OK",
    ]
    assert error.where == "pod kube-system/agent-x on n1"


@pytest.mark.parametrize(
    ("said", "told"),
    [("a\nb\nc\nflanneld: applet not found\n", ["b", "c", "flanneld: applet not found"]), (None, [])],
)
def test_a_container_whose_end_nobody_keeps_is_asked_for_its_former_log(
    said: str | None, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """flannel's own manifest has no terminationMessagePolicy, and is not edited."""
    dead = pod(GIVE_UP_AFTER)
    dead["status"]["containerStatuses"][0]["lastState"]["terminated"]["message"] = ""
    asked: list[tuple[Any, ...]] = []

    def logs(_: Kube, *words: Any, previous: bool) -> str:
        asked.append((*words, previous))
        if said is None:
            msg = "previous terminated container not found"
            raise CnilabError(msg)
        return said

    monkeypatch.setattr(Api, "logs", logs)
    with pytest.raises(BringUpError) as caught:
        Watchdog(LabLayout(tmp_path, "lab"), Api([], [dead])).until("every node to be Ready", lambda: False, 60)
    assert caught.value.cause.splitlines() == ["ended 4 times, exit code 1", *told]
    assert asked == [("kube-system", "agent-x", "agent", 3, True)]


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
    with pytest.raises(BringUpError, match="kube-proxy on n1 exits again and again"):
        watch.until("something", lambda: False, 60)


def service(place: LabLayout, name: str, count: int) -> None:
    """Let a service of the first node have ended a number of times, and say something last."""
    log = place.machine("n1").log
    log.mkdir(parents=True, exist_ok=True)
    entry = {"service": name, "status": "exit status 1", "at": "", "count": count}
    with (log / "exits.json").open("a") as file:
        file.write(json.dumps(entry) + "\n")
    (log / f"{name}.log").write_text(f"{name} said goodbye\n")


def not_accepted() -> ApiError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.verify_message = "Missing Authority Key Identifier"
    return unanswered("GET /readyz", "https://127.0.0.1:6443", error)


def fails(error: CnilabError) -> Callable[[], bool]:
    def probe() -> bool:
        raise error

    return probe


def test_a_certificate_that_is_not_accepted_ends_the_wait_at_once_and_blames_no_service(
    tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    """As Python 3.13 has it with a certificate that is not complete: it was kubelet, after a minute."""
    place = LabLayout(tmp_path, "lab")
    service(place, "kubelet", 3)
    start = time.monotonic()
    with pytest.raises(ApiError) as caught:
        Watchdog(place).until("the API server to be ready", fails(not_accepted()), 60)
    assert time.monotonic() - start < 5
    golden("cluster/refusals/wait.txt", f"{caught.value}\n")


def test_a_service_that_was_started_again_once_is_not_the_cause(
    tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    place = LabLayout(tmp_path, "lab")
    service(place, "kubelet", 1)
    with pytest.raises(BringUpError) as caught:
        Watchdog(place).until("every node to be Ready", fails(NotYetError("n2 is not Ready: no network")), 0.1)
    golden("cluster/refusals/once.txt", f"{caught.value}\n")


def test_a_service_that_ends_again_and_again_is_named_after_what_was_seen_last(tmp_path: Path) -> None:
    place = LabLayout(tmp_path, "lab")
    service(place, "kubelet", 2)
    with pytest.raises(BringUpError) as caught:
        Watchdog(place).until("every node to be Ready", fails(NotYetError("n2 is not Ready")), 0.1)
    assert caught.value.cause.splitlines() == [
        "last seen: n2 is not Ready",
        "kubelet on n1 ended 2 times: exit status 1",
        "kubelet said goodbye",
    ]
    assert caught.value.log.endswith("/kubelet.log")


def test_a_service_that_waits_for_another_says_so(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    place = LabLayout(tmp_path, "lab")
    service(place, "kubelet", 1)
    with (place.machine("n1").log / "exits.json").open("a") as file:
        for name, waits in (
            ("kube-apiserver", "tcp:127.0.0.1:2379: connection refused"),
            ("kube-proxy", "https://172.18.0.11:6443/readyz: connection refused"),
            ("kubelet", "tcp:127.0.0.1:2379: connection refused"),
            ("kube-proxy", ""),  # it has been started
        ):
            file.write(json.dumps({"service": name, "waits": waits, "at": ""}) + "\n")
    error = explain(BringUpError("waited 60 s for the API server to be ready"), place)
    golden("cluster/refusals/waits.txt", f"{error}\n")


def test_a_service_that_dies_while_the_probe_has_its_own_words_ends_the_wait(tmp_path: Path) -> None:
    place = LabLayout(tmp_path, "lab")
    watch = Watchdog(place)
    service(place, "etcd", GIVE_UP_AFTER)
    with pytest.raises(BringUpError, match="etcd on n1 exits again and again"):
        watch.until("the API server to be ready", fails(NotYetError("no answer")), 60)
