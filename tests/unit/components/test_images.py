from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from harness.cluster import coredns, node_config
from harness.cni.flannel import manifests as flannel
from harness.components import libraries, payloads, recipes
from harness.components.images import kit, write_archive
from harness.components.lock import load
from harness.components.payloads import Content
from harness.components.recipes import Image
from harness.components.resolver import Resolver
from harness.components.store import Store
from harness.errors import PreflightError, UsageError
from harness.runner import Completed, HostRunner


def nothing(_: Resolver) -> dict[str, Content]:
    return {}


IMAGE = Image("thing", "cnilab.dev/thing:1", ("/thing",), ("serve",), (), nothing)


@pytest.fixture
def contents(tmp_path: Path) -> dict[str, Content]:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF program")
    return {"usr/lib/deep/thing.so": program, "bin/sh": "busybox", "bin/busybox": program, "etc/passwd": b"root:x:0:0"}


def pack(tmp_path: Path, contents: dict[str, Content], name: str = "image.tar") -> Path:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    write_archive(tmp_path / name, IMAGE, contents, scratch)
    return tmp_path / name


def member(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def as_json(archive: Path, name: str) -> Any:
    return json.loads(member(archive, name))


def layer(archive: Path, tmp_path: Path) -> tarfile.TarFile:
    path = tmp_path / "layer.tar"
    path.write_bytes(member(archive, as_json(archive, "manifest.json")[0]["Layers"][0]))
    return tarfile.open(path)


def test_the_same_files_give_the_same_bytes(tmp_path: Path, contents: dict[str, Content]) -> None:
    one = pack(tmp_path, contents, "one.tar").read_bytes()
    os.utime(tmp_path / "program", (1, 1))
    (tmp_path / "program").chmod(0o600)
    other = pack(tmp_path, dict(reversed(contents.items())), "other.tar").read_bytes()
    assert one == other


def test_every_blob_is_named_after_its_digest_and_described_with_its_size(
    tmp_path: Path, contents: dict[str, Content]
) -> None:
    archive = pack(tmp_path, contents)
    with tarfile.open(archive) as tar:
        blobs = {info.name: info.size for info in tar if info.name.startswith("blobs/sha256/") and info.isfile()}
    assert len(blobs) == 3
    for name in blobs:
        assert hashlib.sha256(member(archive, name)).hexdigest() == name.rpartition("/")[2]
    descriptor = as_json(archive, "index.json")["manifests"][0]
    manifest = as_json(archive, "blobs/" + descriptor["digest"].replace(":", "/"))
    for described in (descriptor, manifest["config"], *manifest["layers"]):
        assert blobs["blobs/" + described["digest"].replace(":", "/")] == described["size"]


def test_containerd_and_docker_both_find_the_name(tmp_path: Path, contents: dict[str, Content]) -> None:
    archive = pack(tmp_path, contents)
    annotations = as_json(archive, "index.json")["manifests"][0]["annotations"]
    assert annotations["io.containerd.image.name"] == "cnilab.dev/thing:1"
    docker = as_json(archive, "manifest.json")[0]
    assert docker["RepoTags"] == ["cnilab.dev/thing:1"]
    assert as_json(archive, docker["Config"])["config"]["Entrypoint"] == ["/thing"]


def test_a_layer_has_parents_before_children_and_belongs_to_root(tmp_path: Path, contents: dict[str, Content]) -> None:
    with layer(pack(tmp_path, contents), tmp_path) as tar:
        found = tar.getmembers()
    names = [info.name for info in found]
    assert len(names) == len(set(names))
    for info in found:
        parent = info.name.rpartition("/")[0]
        assert not parent or names.index(parent) < names.index(info.name)
        assert (info.uid, info.gid, info.mtime) == (0, 0, 0)
    modes = {info.name: info.mode for info in found}
    assert modes["tmp"] == 0o1777
    assert modes["bin/busybox"] == 0o755
    assert modes["etc/passwd"] == 0o644


def test_an_image_has_variables_of_its_own(tmp_path: Path, contents: dict[str, Content]) -> None:
    (image,) = (one for one in recipes.images(load()) if one.name == "cilium")
    assert image.env == ("HUBBLE_SERVER=unix:///var/run/cilium/hubble.sock",)
    write_archive(tmp_path / "image.tar", image, contents, tmp_path)
    config = as_json(tmp_path / "image.tar", as_json(tmp_path / "image.tar", "manifest.json")[0]["Config"])
    assert config["config"]["Env"] == [f"PATH={recipes.PATH}", *image.env]


def test_a_script_can_be_run_and_a_directory_may_be_a_link(tmp_path: Path) -> None:
    files: dict[str, Content] = {"install.sh": b"#!/bin/sh\n", "notes": b"install.sh\n", "var/run": "/run"}
    with layer(pack(tmp_path, files), tmp_path) as tar:
        found = {info.name: info for info in tar.getmembers()}
    assert (found["install.sh"].mode, found["notes"].mode) == (0o755, 0o644)
    assert (found["var/run"].issym(), found["var/run"].linkname, found["run"].isdir()) == (True, "/run", True)


def test_a_kit_is_made_once_and_has_places_for_the_kernels_file_systems(
    tmp_path: Path, contents: dict[str, Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "cache", ("cache",))
    monkeypatch.setattr(store, "ensure", dict.fromkeys)
    monkeypatch.setattr(payloads, "kit", lambda _: contents)
    path = kit(store)
    first = path.read_bytes()
    with tarfile.open(path, "r:gz") as tar:
        members = {info.name: info for info in tar}
        assert {"dev", "proc", "sys"} <= {name for name, info in members.items() if info.isdir()}
        assert (members["bin/busybox"].mode, members["bin/sh"].linkname) == (0o755, "busybox")
    changed = path.stat().st_mtime_ns
    assert (kit(store), path.stat().st_mtime_ns) == (path, changed)
    path.unlink()
    path.parent.rmdir()
    assert kit(store).read_bytes() == first


def test_images_carry_the_names_that_manifests_use_and_the_versions_of_the_lock() -> None:
    lock = load()
    version = {name: component.pinned for name, component in lock.component.items()}
    tag = lock.component["cilium"].tag
    assert [image.reference for image in recipes.images(lock)] == [
        "cnilab.dev/pause:1",
        "cnilab.dev/toolbox:1",
        "cnilab.dev/responder:1",
        f"ghcr.io/flannel-io/flannel:v{version['flannel']}",
        f"cnilab.dev/flannel-cni-plugin:v{version['cni-flannel']}",
        f"quay.io/cilium/cilium:{tag}",
        f"quay.io/cilium/operator-generic:{tag}",
        f"quay.io/cilium/hubble-relay:{tag}",
        f"registry.k8s.io/coredns/coredns:v{version['coredns']}",
        f"registry.k8s.io/kube-apiserver:v{version['kubernetes']}",
        f"registry.k8s.io/etcd:{version['etcd-kubeadm']}-0",
        "registry.k8s.io/pause:3.10",
        "docker.io/rajchaudhuri/weave-kube:2.9.0",
        "docker.io/rajchaudhuri/weave-npc:2.9.0",
    ]


@pytest.mark.parametrize("used", [coredns.IMAGE, flannel.IMAGE, flannel.PLUGIN_IMAGE, node_config.PAUSE_IMAGE])
def test_an_image_of_a_manifest_is_one_that_is_made(used: str) -> None:
    assert recipes.find(load(), used).reference == used


def test_one_image_can_have_several_names(tmp_path: Path, contents: dict[str, Content]) -> None:
    image = Image("thing", "cnilab.dev/thing:1", ("/thing",), (), (), nothing, ("cnilab.dev/thing:2", "other/thing:3"))
    write_archive(tmp_path / "image.tar", image, contents, tmp_path)
    names = ["cnilab.dev/thing:1", "cnilab.dev/thing:2", "other/thing:3"]
    manifests = as_json(tmp_path / "image.tar", "index.json")["manifests"]
    assert [one["annotations"]["io.containerd.image.name"] for one in manifests] == names
    assert len({one["digest"] for one in manifests}) == 1
    assert as_json(tmp_path / "image.tar", "manifest.json")[0]["RepoTags"] == names


def test_an_image_is_found_by_either_name() -> None:
    lock = load()
    assert recipes.find(lock, "coredns") == recipes.find(lock, coredns.IMAGE)
    with pytest.raises(UsageError, match="no image is named 'nginx'"):
        recipes.find(lock, "nginx")


class FakeLdd(HostRunner):
    """Answers as ldd would."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.calls = 0

    def run(self, argv: Any, **_: Any) -> Completed:
        self.calls += 1
        return Completed(tuple(map(str, argv)), 1, self.text, "\tnot a dynamic executable\n")


def test_libraries_lie_where_the_loader_looks_for_them(tmp_path: Path) -> None:
    real = tmp_path / "libm-2.36.so"
    real.write_bytes(b"library")
    (tmp_path / "libm.so.6").symlink_to(real)
    (tmp_path / "ld.so").write_bytes(b"loader")
    ldd = FakeLdd(
        "/bin/x:\n\tlinux-vdso.so.1 (0x00007fff)\n"
        f"\tlibm.so.6 => {tmp_path}/libm.so.6 (0x00007f0a)\n\t{tmp_path}/ld.so (0x00007f0b)\n"
        "/bin/static:\n\tstatically linked\n"
    )
    store = Store(tmp_path / "cache", ("cache",), runner=ldd)
    expected = {f"{tmp_path}/libm.so.6".lstrip("/"): real, f"{tmp_path}/ld.so".lstrip("/"): tmp_path / "ld.so"}
    assert libraries.libraries(store, [Path("/bin/sh")]) == expected
    assert libraries.libraries(store, [Path("/bin/sh")]) == expected
    assert ldd.calls == 1, "the second answer comes from the cache"
    real.unlink()
    assert libraries.libraries(store, [Path("/bin/sh")]) is not None
    assert ldd.calls == 2, "a library that is gone asks ldd again"


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", ("cache",), runner=FakeLdd("/bin/x:\n\tlibfoo.so.1 => not found\n"))
    with pytest.raises(PreflightError, match="lacks a shared library") as caught:
        libraries.libraries(store, [Path("/bin/sh")])
    assert "libfoo.so.1" in caught.value.cause


def test_plugins_of_iptables_are_found_next_to_it(tmp_path: Path) -> None:
    place = tmp_path / "lib" / "x86_64-linux-gnu" / "xtables"
    place.mkdir(parents=True)
    for name in ("libxt_statistic.so", "libipt_MASQUERADE.so", "README"):
        (place / name).touch()
    found = libraries.xtables_plugins(tmp_path / "sbin" / "xtables-nft-multi")
    assert [path.name for path in found] == ["libipt_MASQUERADE.so", "libxt_statistic.so"]
    with pytest.raises(PreflightError, match="plugins"):
        libraries.xtables_plugins(tmp_path / "elsewhere" / "sbin" / "iptables")
