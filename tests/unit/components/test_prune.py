from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.components import box, carry, kernel_package, node_image, rootfs
from harness.components.kubernetes import with_kubernetes
from harness.components.prune import prune
from harness.components.store import Store

SYSTEM = {"system": {"programs": {"tool": "tool"}}, "probe": ["tool", "--version"]}
OTHER = {"system": {"programs": {"other": "other"}}}
MakeStore = Callable[..., Store]


@pytest.fixture
def store(make_store: MakeStore, program: Callable[[str, str], Path]) -> Store:
    program("tool", "1.5")
    store = make_store("cache", "system", tool=SYSTEM, other=OTHER)
    store.ensure(["tool"])
    return store


def states(store: Store) -> dict[str, str]:
    return {status.name: status.state for status in carry.list_components(store)}


def test_prune_keeps_what_any_pinned_version_of_kubernetes_is_made_of(
    make_store: MakeStore, program: Callable[[str, str], Path]
) -> None:
    program("tool", "1.5")
    table = {**SYSTEM, "version": "1.37.2", "minors": {"1.36": "1.36.3"}}
    store = make_store("cache", "system", kubernetes=table)
    older = make_store("cache", "system", kubernetes=table)
    older.lock = with_kubernetes(store.lock, "1.36")
    for one in (store, older):
        one.ensure(["kubernetes"])
    assert prune(store) == []
    assert (states(store)["kubernetes"], states(older)["kubernetes"]) == ("cached", "cached")


def test_prune_keeps_what_the_lock_names(store: Store, make_store: MakeStore) -> None:
    newer = make_store("cache", "system", tool={**SYSTEM, "version": "2.0"}, other=OTHER)
    newer.ensure(["tool"])
    assert prune(newer) == [store.directory(store.lock.component["tool"])]
    assert (states(newer)["tool"], states(store)["tool"]) == ("cached", "missing")


def kernel(store: Store, name: str, release: str, age: int) -> Path:
    place = store.cache / "kernels" / name / release
    (place / "modules" / release).mkdir(parents=True)
    (place / "vmlinuz").write_text(release)
    os.utime(place, (10**9 - age, 10**9 - age))
    return place


def test_prune_keeps_the_kernel_that_labs_get(store: Store) -> None:
    newest = kernel(store, "debian", "6.1.0-40-cloud-amd64", 1)
    older = kernel(store, "debian", "6.1.0-39-cloud-amd64", 9)
    unknown = kernel(store, "plan9", "4", 0)
    assert prune(store) == [older, unknown]
    found = kernel_package.cached(store, "debian")
    assert found is not None
    assert found.image.parent == newest
    assert found.image.is_file()


def test_prune_keeps_the_systems_that_boxes_and_node_images_begin_with(store: Store) -> None:
    wanted = [rootfs.place(store.cache, packages) for packages in (box.PACKAGES, node_image.PACKAGES)]
    others = [rootfs.place(store.cache, node_image.PACKAGES, "buster"), rootfs.place(store.cache, ("hello",))]
    for place in (*wanted, *others):
        (place / "root").mkdir(parents=True)
    assert prune(store) == sorted(others)
    assert [place.is_dir() for place in wanted] == [True, True]
    assert rootfs.system(store, box.PACKAGES, what="it", instead="no") == wanted[0] / "root"
