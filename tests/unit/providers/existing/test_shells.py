"""The responder gets into pods of any image with a shell: with the shells and tools of this machine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from conformance import manifests
from conformance.manifests import PodPlan
from harness.providers.existing import shells
from harness.providers.existing.shells import Parcel

PROGRAM = b'#!/bin/sh\nshift; echo serving "$@"\n' + bytes(range(256)) * 40 + b"%s\\n\0"
"""A program that says what it was told, with all bytes there are behind it."""

SETS = {
    "all": shells.TOOLS,
    "no-gzip": ("head", "cat", "chmod", "sha256sum"),
    "no-digest": ("head", "cat", "chmod", "gzip"),
    "cat-alone": ("cat", "chmod"),
    "shell-alone": ("chmod", "sha256sum"),
}


class Box:
    """A file system with a shell and few tools, as far as PATH decides that."""

    def __init__(self, shell: str, tools: Sequence[str], home: Path) -> None:
        self.home = home
        self.folder = home / "cnilab"
        self.folder.mkdir()
        (home / "bin").mkdir()
        for tool in (*tools, "sleep"):
            found = shutil.which(tool)
            assert found
            (home / "bin" / tool).symlink_to(found)
        found = shutil.which(shell)
        assert found
        if shell == "busybox":
            # Its own applets are found by its name alone; those of PATH come first.
            (home / "sh").write_text(f'#!{found} sh\nexec {found} sh "$@"\n')
            (home / "sh").chmod(0o755)
        else:
            (home / "sh").symlink_to(found)

    def vector(self, argv: Sequence[str]) -> list[str]:
        words = [word.replace(shells.FOLDER, str(self.folder)) for word in argv]
        return [str(self.home / "sh"), *words[1:]] if words[0] == "sh" else words

    def run(self, argv: Sequence[str], data: bytes = b"") -> bytes:
        env = {"PATH": str(self.home / "bin")}
        return subprocess.run(self.vector(argv), input=data, env=env, capture_output=True, check=True).stdout


@pytest.mark.parametrize("tools", SETS)
@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_the_program_arrives_whole_and_starts(shell: str, tools: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    box = Box(shell, SETS[tools], tmp_path)
    said = frozenset(box.run(shells.PROBE).decode().split())
    assert said >= set(SETS[tools])
    parcel = Parcel(PROGRAM, said if shell == "busybox" else frozenset(SETS[tools]))
    assert parcel.lacking == ""
    plan = PodPlan("a", "n1")
    container = shells.streamed(manifests.pod(plan), manifests.IMAGE)["spec"]["containers"][0]
    words, env = box.vector([*container["command"], *container["args"]]), {"PATH": str(tmp_path / "bin")}
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE) as waiting:
        try:
            box.run(parcel.receive, parcel.data)
            assert (box.folder / "responder").read_bytes() == PROGRAM
            assert parcel.arrived(box.run(parcel.check))
            assert waiting.poll() is None
            box.run(shells.BEGIN)
            out, _ = waiting.communicate(timeout=20)
        finally:
            waiting.kill()
    assert out.splitlines()[0].startswith(b"serving --name a --ports ")


@pytest.mark.parametrize("tools", [shells.TOOLS, ("cat", "chmod")])
def test_another_program_than_the_one_that_was_sent_is_noticed(tools: tuple[str, ...], tmp_path: Path) -> None:
    parcel, box = Parcel(PROGRAM, frozenset(tools)), Box("sh", tools, tmp_path)
    (box.folder / "responder").write_bytes(PROGRAM)
    assert parcel.arrived(box.run(parcel.check))
    (box.folder / "responder").write_bytes(PROGRAM[:-1])
    assert not parcel.arrived(box.run(parcel.check))


@pytest.mark.parametrize(("tools", "lacks"), [({"cat", "head"}, "chmod"), ({"chmod", "head"}, "sha256sum")])
def test_an_image_that_cannot_take_the_program_is_known_before(tools: set[str], lacks: str) -> None:
    assert lacks in Parcel(PROGRAM, frozenset(tools)).lacking


@pytest.mark.parametrize(
    ("image", "whole"),
    [
        ("cnilab.dev/responder:1", True),
        ("registry.example:5000/team/responder@sha256:abc", True),
        ("responder", True),
        ("busybox:stable", False),
        ("registry.example/responder-tools:1", False),
        ("cnilab.dev/toolbox:1", False),
    ],
)
def test_nothing_is_sent_into_images_of_the_responder(image: str, whole: bool) -> None:
    assert shells.is_responder(image) is whole


def test_containers_of_a_pod_share_one_program_and_others_stay_as_they_are() -> None:
    before = manifests.pod(PodPlan("a", "n1", containers=("main", "sibling")))
    made = shells.streamed(before, manifests.IMAGE)
    assert made["spec"]["volumes"] == [{"name": "cnilab", "emptyDir": {}}]
    for old, new in zip(before["spec"]["containers"], made["spec"]["containers"], strict=True):
        assert new["args"] == old["args"]
        assert new["command"][:2] == ["sh", "-c"]
        assert new["volumeMounts"] == [{"name": "cnilab", "mountPath": "/cnilab"}]
    assert shells.streamed(before, "another") == before


def test_images_with_a_shell_that_every_node_has_are_tried_small_ones_first() -> None:
    first = frozenset(
        {"quay.io/cilium/cilium:v1", "docker.io/library/busybox:1", "registry.k8s.io/pause:3", "alpine:3"}
    )
    second = first - {"alpine:3"} | {"docker.io/library/busybox@sha256:1"}
    assert shells.candidates([first, second]) == ["docker.io/library/busybox:1", "quay.io/cilium/cilium:v1"]
    assert shells.candidates([]) == []


def test_trials_are_over_when_every_pod_has_ended_or_is_stuck() -> None:
    def pod(image: str, phase: str, reason: str = "") -> dict[str, object]:
        made = shells.trial("t", "n1", "ns", image)
        state = {"waiting": {"reason": reason}} if reason else {}
        return made | {"status": {"phase": phase, "containerStatuses": [{"state": state}]}}

    assert shells.tried([pod("a", "Succeeded"), pod("b", "Pending", "ContainerCreating")]) is None
    over = [pod("a", "Succeeded"), pod("b", "Failed"), pod("c", "Pending", "ErrImageNeverPull")]
    assert shells.tried(over) == {"a": True, "b": False, "c": False}
    assert shells.tried([pod("a", "Succeeded"), pod("b", "Running")]) is None
