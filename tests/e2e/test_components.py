"""Preparing images for containerd on the real machine: complete, quick the second time, and without a trace."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import resources
from harness.components import daemon
from harness.components.lock import load
from harness.components.store import Store
from harness.timeouts import wait_until
from tests.e2e import snapshot, stores
from tests.e2e.conftest import Cli

SMALL = ("pause", "flannel-cni-plugin")
"""Images that no lab uses alone: their root is made by these tests, not found."""


@pytest.fixture
def store() -> Store:
    """A store with the user's cache, in which nobody has prepared these images."""
    store = stores.store()
    shutil.rmtree(store.containerd_root(SMALL))
    return store


def clone(root: Path, target: Path) -> Path:
    """What a node does: hard links for everything but databases."""

    def take(source: str, place: str) -> None:
        (shutil.copyfile if source.endswith(".db") else os.link)(source, place)

    shutil.copytree(root, target, copy_function=take)
    return target


def processes(word: str) -> list[int]:
    """PIDs of processes with a word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in path.read_bytes().decode(errors="replace"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_a_prepared_root_has_its_images_unpacked(store: Store, tmp_path: Path) -> None:
    root = store.containerd_root(SMALL)
    start = time.monotonic()
    assert store.containerd_root(SMALL) == root
    assert time.monotonic() - start < 1.0, "the second call makes nothing"
    programs = store.ensure(["containerd"])["containerd"].directory
    # In the cache's file system: hard links do not leave it.
    with store.exclusive("e2e-clone") as scratch:
        copy = clone(root, scratch / "root")
        with daemon.private(store, programs, copy, tmp_path / "log") as ctr:
            names = store.runner.run((*ctr, "images", "ls", "-q")).stdout.split()
            checked = store.runner.run((*ctr, "images", "check")).stdout.splitlines()[1:]
    assert sorted(names) == sorted(store.image_references(SMALL))
    assert len(checked) == len(SMALL)
    for line in checked:
        assert "complete" in line
        assert line.split()[-1] == "true", f"not unpacked: {line}"


def test_preparing_images_leaves_the_machine_as_it_was(store: Store) -> None:
    before = snapshot.take(())
    store.containerd_root(SMALL)
    left = snapshot.settle(before, ())
    # Processes come and go on any machine; ours would show in their command line.
    assert {kind: words for kind, words in left.items() if kind not in {"processes", "namespaces", "sockets"}} == {}
    assert processes(str(store.cache / "scratch" / "root-")) == []
    assert not Path("/opt/containerd").exists()
    assert list((store.cache / "scratch").glob("root-*")) == []


def test_a_killed_preparation_takes_containerd_with_it_and_the_next_one_works(store: Store) -> None:
    program = f"from tests.e2e import stores; stores.store().containerd_root({SMALL!r})"
    harness = subprocess.Popen((sys.executable, "-c", program), cwd=resources.root())
    mark = str(store.cache / "scratch" / "root-")
    wait_until("containerd to start", lambda: processes(mark), 60)
    harness.kill()
    harness.wait()
    wait_until("containerd to end with its harness", lambda: not processes(mark), 10)
    assert store.containerd_root(SMALL).is_dir()
    assert list((store.cache / "scratch").glob("root-*")) == []


def test_a_machine_without_go_builds_with_the_pinned_one(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From nothing: an empty cache, and a PATH that has no go, or one that is too old."""
    old = tmp_path / "old"
    old.mkdir()
    (old / "go").write_text("#!/bin/sh\necho go version go1.19.8 linux/amd64\n")
    (old / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{old}:/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.setenv("CNILAB_CACHE", str(tmp_path / "cache"))
    pinned = load().go
    assert pinned is not None
    cli("components", "ensure", "pause")
    origin = {item["name"]: item["origin"] for item in cli.data("components", "list")["items"]}["pause"]
    assert origin == f"go build of components/pause, Go {pinned.version}"
    assert f"go{pinned.version}".encode() in Store(tmp_path / "cache").program("pause").read_bytes()
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "cache/go").glob("*/bin/*")}
    assert modes == {0o755}


def test_programs_of_ones_own_run_in_the_lab(cli: Cli, untouched: list[str], tmp_path: Path) -> None:
    name, run = untouched[0], tmp_path / "run"
    mine = {program: tmp_path / program for program in ("kubelet", "flanneld")}
    for (program, copy), component in zip(mine.items(), ("kubernetes", "flannel"), strict=True):
        found = stores.store().ensure([component])[component]
        source = found.directory / ("kubernetes" if program == "kubelet" else program)
        copy.write_bytes(source.read_bytes() + b"mine")  # an ELF file may end with anything
    words = [word for program, path in mine.items() for word in ("--component", f"{program}={path}")]
    cli("up", "flannel", "--name", name, "--nodes", "1", "--run-dir", run, *words)
    digests = {program: hashlib.sha256(path.read_bytes()).hexdigest() for program, path in mine.items()}
    for path in mine.values():
        path.unlink()
    node = cli("exec", "--cluster", name, "n1", "--", "sh", "-c", "sha256sum $(command -v kubelet)").stdout
    assert node.split()[0] == digests["kubelet"]
    agent = cli("exec", "--cluster", name, "n1", "--", "sh", "-c", "sha256sum /proc/$(pgrep -x flanneld)/exe").stdout
    assert agent.split()[0] == digests["flanneld"]
    pins = {pin["name"]: pin["source"] for pin in json.loads((run / "run.json").read_text())["pins"]}
    assert (pins["kubernetes"], pins["flannel"]) == ("own", "own")
    assert pins["etcd"] != "own"
    cli("down", name)
