"""Programs of the user's own, in place of those that the lock names."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.components import own
from harness.components.store import Store
from harness.errors import UsageError
from tests.unit.components.conftest import MakeStore
from tests.unit.components.test_given import KUBE, NPC, archive

USED = ("kubernetes", "flannel", "cni-flannel")
"""Components of a lab with flannel."""


def script(path: Path, text: str = "mine") -> Path:
    path.write_text(f"#!/bin/sh\necho {text}\n")
    return path


@pytest.fixture
def store(make_store: MakeStore, program: Callable[[str, str], Path]) -> Store:
    for name in ("one", "two"):
        program(name, "1.0")
    return make_store(both={"system": {"programs": {"one": "one", "two": "two"}}, "probe": ("one",)})


def test_one_program_is_the_users_and_the_rest_is_not(store: Store, tmp_path: Path) -> None:
    before = store.ensure(["both"])["both"]
    store.own.update(own.bring(Store(store.cache), [f"kubelet={script(tmp_path / 'x')}"], USED))
    assert store.ensure(["both"])["both"] == before, "a program of another component"
    store.own["one"] = store.own.pop("kubelet")
    after = store.ensure(["both"])["both"]
    assert (after.directory / "one").read_text() == "#!/bin/sh\necho mine\n"
    assert (after.directory / "two").read_bytes() == (before.directory / "two").read_bytes()
    assert (after.version, after.source, set(after.files)) == (f"{before.version}+own", "own", {"one", "two"})
    assert after.digest != before.digest
    pins = {pin.name: (pin.version, pin.source, pin.digest) for pin in store.pins()}
    mine = hashlib.sha256(b"#!/bin/sh\necho mine\n").hexdigest()
    assert pins == {"both": (after.version, "own", after.digest), "one": ("", "own", mine)}
    assert before.directory != after.directory
    assert (before.directory / "one").read_bytes() != (after.directory / "one").read_bytes()


def test_what_was_brought_does_not_change_with_the_file(tmp_path: Path) -> None:
    store, file = Store(tmp_path / "cache"), tmp_path / "flanneld"
    first = own.bring(store, [f"flanneld={script(file)}"], USED)
    assert own.bring(store, [f"flanneld={file}"], USED) == first
    second = own.bring(store, [f"flanneld={script(file, 'other')}"], USED)
    assert first["flanneld"].read_text() == "#!/bin/sh\necho mine\n"
    assert second["flanneld"].read_text() == "#!/bin/sh\necho other\n"
    assert first["flanneld"].stat().st_mode & 0o777 == 0o555


def test_a_copy_can_be_brought_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    first = own.bring(store, [f"flanneld={script(tmp_path / 'f')}"], USED)
    assert own.bring(store, [f"flanneld={first['flanneld']}"], USED) == first


def test_an_image_that_is_brought_goes_to_the_cache(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    saved = archive(tmp_path / "weave.tar", "manifest.json", [{"RepoTags": [KUBE]}])
    assert own.bring(store, [f"weave-kube={saved}"], USED, ("weave-kube", "weave-npc")) == {}
    assert [path.read_bytes() for path in store.image_archives(["weave-kube"])] == [saved.read_bytes()]
    with pytest.raises(UsageError, match="does not contain that image"):
        own.bring(store, [f"weave-npc={saved}"], USED, ("weave-kube", "weave-npc"))
    assert not (store.cache / "given" / "weave-npc").exists(), NPC


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("flanneld", "the form is NAME=PATH"),
        ("=flanneld", "the form is NAME=PATH"),
        ("flanneld=/no/such/file", "there is no file /no/such/file"),
        ("weaver={}", "or an image: weave-kube, weave-npc"),
        ("libcni={}", "flanneld"),
    ],
)
def test_what_cannot_be_meant_is_refused(word: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        own.bring(
            Store(tmp_path / "cache"), [word.format(script(tmp_path / "file"))], USED, ("weave-kube", "weave-npc")
        )
    assert said in str(caught.value)
    assert caught.value.next_step


def test_what_the_lab_does_not_take_from_the_store_is_refused(tmp_path: Path) -> None:
    store, file = Store(tmp_path / "cache"), script(tmp_path / "file")
    with pytest.raises(UsageError, match="this cluster has no program or image of that name") as caught:
        own.bring(store, [f"kubelet={file}"], ("flannel",))
    assert caught.value.cause == "programs: flanneld, install-conf"
    assert own.bring(store, [f"flanneld={file}"], ("flannel",))


def test_images_of_other_labs_are_refused(tmp_path: Path) -> None:
    store, saved = Store(tmp_path / "cache"), archive(tmp_path / "w.tar", "manifest.json", [{"RepoTags": [KUBE]}])
    with pytest.raises(UsageError, match="this cluster has no program or image of that name"):
        own.bring(store, [f"weave-kube={saved}"], USED, ("pause", "flannel"))
    assert not (store.cache / "given").exists()


def test_one_file_may_be_several_programs(tmp_path: Path) -> None:
    file = script(tmp_path / "file")
    found = own.bring(Store(tmp_path / "cache"), [f"kubelet={file}", f"kube-proxy={file}"], USED)
    assert [path.is_file() for path in found.values()] == [True, True]


def test_a_machine_of_another_kernel_takes_copies_and_nothing_else(tmp_path: Path) -> None:
    cache, file = tmp_path / "cache", script(tmp_path / "file")
    first = own.bring(Store(cache), [f"flanneld={file}"], USED)["flanneld"]
    words = [f"flanneld={first}", f"kubelet={file}", f"kube-proxy={first.parent}/gone", "weave-kube=/images.tar"]
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "own").symlink_to(cache / "own")
    for seen in (cache, inside):
        assert own.kept(seen, words) == {"flanneld": first}


def test_a_program_of_an_image_must_bring_its_libraries(tmp_path: Path) -> None:
    shell = Path(shutil.which("sh") or "/bin/sh").resolve()
    assert "ld-" in own.needs_loader(shell)
    with pytest.raises(UsageError, match="is linked dynamically") as caught:
        own.bring(Store(tmp_path / "cache"), [f"flanneld={shell}"], USED)
    assert "CGO_ENABLED=0" in caught.value.next_step
    assert own.bring(Store(tmp_path / "cache"), [f"kubelet={shell}"], USED)


def test_a_file_that_ends_early_asks_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(b"\x7fELF\x02\x01")
    assert own.needs_loader(tmp_path / "cut") == ""
