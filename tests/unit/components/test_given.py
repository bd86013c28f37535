from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from harness.components import given, images, recipes
from harness.components.resolver import Resolver
from harness.errors import PreflightError, UsageError

KUBE, NPC = "docker.io/rajchaudhuri/weave-kube:2.9.0", "docker.io/rajchaudhuri/weave-npc:2.9.0"


def archive(path: Path, name: str, content: object) -> Path:
    data = json.dumps(content).encode()
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return path


def test_an_archive_of_docker_brings_all_images_in_it(tmp_path: Path) -> None:
    tags = [reference.removeprefix("docker.io/") for reference in (KUBE, NPC)]
    saved = archive(tmp_path / "weave.tar", "manifest.json", [{"RepoTags": [tag]} for tag in tags])
    store = Resolver(tmp_path / "cache")
    assert given.add(store, saved) == [KUBE, NPC]
    assert all(given.place(store.cache, recipes.find(store.lock, one)).is_file() for one in (KUBE, NPC))
    paths = images.archives(store, ["weave-kube", "weave-npc"])
    assert [path.read_bytes() for path in paths] == 2 * [saved.read_bytes()]
    assert len({images.image_digest(path) for path in paths}) == 2


def test_an_oci_index_brings_what_its_annotations_name(tmp_path: Path) -> None:
    index = {"manifests": [{"annotations": {"io.containerd.image.name": NPC}}, {}]}
    saved = archive(tmp_path / "one.tar", "index.json", index)
    assert given.add(Resolver(tmp_path / "cache"), saved) == [NPC]


def test_an_image_that_nobody_brought_is_named_with_the_way_to_bring_it(tmp_path: Path) -> None:
    store = Resolver(tmp_path)
    with pytest.raises(PreflightError) as caught:
        images.archives(store, ["weave-kube"])
    assert KUBE in caught.value.what
    assert "docker save rajchaudhuri/weave-kube:2.9.0" in caught.value.next_step


def test_other_images_are_refused_and_named(tmp_path: Path) -> None:
    saved = archive(tmp_path / "other.tar", "manifest.json", [{"RepoTags": ["alpine:3"]}, {"RepoTags": None}])
    with pytest.raises(UsageError) as caught:
        given.add(Resolver(tmp_path / "cache"), saved)
    assert "docker.io/library/alpine:3" in caught.value.cause
    assert KUBE in caught.value.next_step


def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(UsageError, match="is not an archive of images"):
        given.add(Resolver(tmp_path / "cache"), tmp_path / "text")


def test_given_images_are_made_of_nothing_here(tmp_path: Path) -> None:
    store = Resolver(tmp_path)
    assert [one.reference for one in recipes.images(store.lock) if one.given] == [KUBE, NPC]
    assert images.components(store, ["weave-kube", "weave-npc"]) == []
