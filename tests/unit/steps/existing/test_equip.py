"""Probes on nodes get their programs sent where no image has them, and what arrived is compared."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.access import Access
from harness.cluster.execute import PodRunner
from harness.cluster.kube import Kube
from harness.cluster.stream import Place
from harness.errors import BringUpError
from harness.model.journal import Journal
from harness.providers.existing import probe, shells, tenancy
from harness.providers.existing.rights import Rights
from harness.providers.existing.survey import NodeInfo
from harness.runner import CommandError, Completed
from harness.steps.existing.preflight import RESPONDER, TOOLBOX, Survey, Wish
from harness.steps.existing.send import Sender
from harness.steps.existing.stay import Stay

ACCESS = Access(Path("/kubeconfig"), "test", "http://127.0.0.1:1")
KIT = b"many programs"


def stay(*, image: str = "", node_image: str = "", there: frozenset[str] = frozenset(), streams: bool = False) -> Stay:
    """A run's stay in a cluster with one node, which has some images."""
    nodes = (NodeInfo("n1", "10.0.0.1", images=there),)
    wish = Wish(Path("/kubeconfig"), image=image, node_image=node_image)
    found = Survey(wish, ACCESS, Kube(Path("/kubeconfig"), access=ACCESS), "1.37.2", Rights({}), nodes, nodes)
    return Stay(found, tenancy.mark("m", 1, 1, "run"), Journal(), image=image or RESPONDER, streams=streams)


class Pods(PodRunner):
    """Pods that answer what a test wants; all that they are told is kept."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(ACCESS, Place("", ""))
        self.answer = answer
        self.told: list[tuple[str, tuple[str, ...], bytes]] = []

    def into(self, place: Place) -> PodRunner:
        made = Pods(self.answer)
        made.place, made.told = place, self.told
        return made

    def send(self, argv: Any, data: bytes = b"", **_: Any) -> bytes:
        words = tuple(map(str, argv))
        self.told.append((str(self.place), words, data))
        if not self.answer:
            msg = "responder failed"
            raise CommandError(msg, Completed(words, 1, "", "no space left on device"))
        return self.answer


def sender(here: Stay, pods: Pods, tmp_path: Path) -> Sender:
    def program(what: str) -> Path:
        assert what == "kit"
        (tmp_path / what).write_bytes(KIT)
        return tmp_path / what

    return Sender(here, pods, program, Journal())


PROBE = {"metadata": {"name": "p", "namespace": "x", "uid": "1"}}


def test_programs_are_sent_unless_the_user_or_the_nodes_have_an_image_of_them() -> None:
    assert stay().kit
    assert stay(image="busybox:stable", there=frozenset({TOOLBOX})).kit, "the image that was named is good for all"
    assert not stay(there=frozenset({TOOLBOX})).kit
    assert not stay(image="busybox:stable", node_image="registry.example/toolbox:1").kit


def test_a_probe_of_any_image_waits_for_the_responder_and_keeps_running() -> None:
    spec = stay(image="busybox:stable", streams=True).probe_pod()["spec"]
    (container,) = spec["containers"]
    assert container["image"] == "busybox:stable"
    assert container["command"][:2] == ["sh", "-c"]
    assert container["args"] == ["wait"]
    assert container["securityContext"] == {"privileged": True}
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert mounts == {"kit": probe.KIT, "cnilab": shells.FOLDER}
    assert {one["name"] for one in spec["volumes"]} == set(mounts)
    (whole,) = stay().probe_pod()["spec"]["containers"]
    assert ("command" in whole, whole["args"], whole["image"]) == (False, ["wait"], RESPONDER)
    (theirs,) = stay(node_image="r/toolbox:1").probe_pod()["spec"]["containers"]
    assert (theirs["command"][0], theirs["image"]) == ("sleep", "r/toolbox:1")


def test_what_arrived_is_compared_by_its_digest(tmp_path: Path) -> None:
    digest = hashlib.sha256(KIT).hexdigest().encode()
    pods = Pods(digest + b"\n")
    sender(stay(), pods, tmp_path).equip([PROBE])
    assert pods.told == [("x/p", ("/responder", "unpack", "/kit", str(len(KIT))), KIT)]
    with pytest.raises(BringUpError, match="the data that arrived in pod x/p differs from the data that was sent"):
        sender(stay(), Pods(b"another"), tmp_path).equip([PROBE])


def test_programs_that_do_not_get_there_are_an_error_with_its_cause(tmp_path: Path) -> None:
    with pytest.raises(BringUpError, match="could not be sent into pod x/p") as caught:
        sender(stay(), Pods(b""), tmp_path).equip([PROBE])
    assert "no space left" in caught.value.cause


def test_an_image_with_the_programs_gets_nothing(tmp_path: Path) -> None:
    pods = Pods(b"")
    sender(stay(node_image="r/toolbox:1"), pods, tmp_path).equip([PROBE])
    assert pods.told == []
