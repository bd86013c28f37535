"""A network that does not come up: its agents' last words, and what doctor says of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.kube import Kube
from harness.cni import catalogue
from harness.errors import BringUpError
from harness.model.spec import LabSpec
from harness.runner import HostRunner
from harness.steps.doctor.checks import CHECKS
from harness.steps.doctor.model import Answer, Question
from harness.steps.lifecycle import diagnosis
from harness.steps.lifecycle.attach import Attached
from harness.steps.lifecycle.diagnosis import SIGNS, diagnose, last_words

LOG = """\
level=info msg="Cilium 1.20.2"
level=warn msg="Unable to contact k8s api-server" error="i/o timeout" ipAddr="https://192.0.2.1:6443"
level=info msg="Establishing connection to apiserver"
"""


class Api(Kube):
    """An API with one pod of an agent, and its log."""

    def __init__(self, *, ready: bool = False, log: str = LOG) -> None:
        self._ready, self._log = ready, log

    def list(self, api_version: str, kind: str, namespace: str = "", labels: str = "", fields: str = "") -> Any:
        del api_version, kind, namespace, labels, fields
        status = {"name": "cilium-agent", "ready": self._ready, "state": {"running": {}}, "restartCount": 0}
        other = {"metadata": {"namespace": "default", "name": "cilium-x"}, "status": {"containerStatuses": [status]}}
        agent = {
            "metadata": {"namespace": "kube-system", "name": "cilium-x"},
            "status": {"containerStatuses": [status]},
        }
        return [agent, other]

    def logs(self, namespace: str, pod: str, container: str = "", lines: int = 200, *, previous: bool = False) -> str:
        del namespace, pod, container, lines, previous
        return self._log


def lab(api: Kube, tmp_path: Path) -> Attached:
    spec, variant = LabSpec(cni="cilium"), catalogue.variant("cilium")
    return Attached(spec, variant, None, api, HostRunner(), tmp_path, None)  # type: ignore[arg-type]  # no nodes needed


def test_an_agent_that_is_not_ready_is_named_with_its_troubles_rather_than_its_chatter() -> None:
    assert list(last_words(Api(), ["kube-system/DaemonSet/cilium"])) == [
        "cilium-agent of kube-system/cilium-x is not ready",
        LOG.splitlines()[1],
    ]


def test_one_that_is_ready_and_other_namespaces_are_not_asked() -> None:
    assert list(last_words(Api(ready=True), ["kube-system/DaemonSet/cilium"])) == []


def test_without_troubles_the_last_lines_are_shown() -> None:
    words = list(last_words(Api(log="one\ntwo\n"), ["kube-system/DaemonSet/cilium"]))
    assert words[1:] == ["one", "two"]


def test_the_matching_finding_of_doctor_is_added(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = Question(
        "inotify", "inotify instances", "limits", "too few", "raise it", lambda _: Answer(ok=False, detail="128")
    )
    fine = Question("bpf", "bpf file system", "info", "none", "another kernel", lambda _: Answer(ok=True))
    monkeypatch.setattr(diagnosis, "CHECKS", (found, fine))
    ready = lab(Api(log="level=error msg=too many open files\n"), tmp_path)
    error = diagnose(BringUpError("waited 90 s for every node to be Ready"), ready)
    assert "too many open files" in error.cause
    assert error.notes == ["doctor, inotify instances: 128; raise it"]
    assert "--retain" in error.next_step
    monkeypatch.setattr(diagnosis, "CHECKS", (replace(found, id="other"), fine))
    assert diagnose(BringUpError("waited"), ready).notes == ["doctor found no problem with bpf file system"]


def test_a_container_that_keeps_dying_has_said_its_last_words_already(tmp_path: Path) -> None:
    error = diagnose(
        BringUpError("agent exits again and again while the cluster waits", cause="level=fatal"), lab(Api(), tmp_path)
    )
    assert error.cause == "level=fatal"


@pytest.mark.parametrize(
    ("words", "check"),
    [
        ("failed to create fsnotify watcher: too many open files", "inotify"),
        ("write /run/x: no space left on device", "disk-state"),
        ("Unable to mount BPF filesystem: bpf fs not there", "bpf"),
        ("failed to create device cilium_vxlan: vxlan: operation not supported", "vxlan"),
        ("Failed to create ipset cilium_node_set_v4", "ipset"),
    ],
)
def test_words_of_agents_point_at_checks(words: str, check: str) -> None:
    assert [name for name, sign in SIGNS.items() if sign.search(words)] == [check]


def test_every_sign_belongs_to_a_check() -> None:
    assert set(SIGNS) <= {check.id for check in CHECKS}
