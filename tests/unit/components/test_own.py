"""Programs of the user's own, in place of those that the lock names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.components import own
from harness.components.store import Store
from harness.errors import UsageError
from harness.model.spec import LabSpec
from tests.unit.components.conftest import MakeStore
from tests.unit.components.test_given import KUBE, NPC, archive

SPEC = LabSpec()


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
    store.own.update(own.bring(Store(store.cache), [f"kubelet={script(tmp_path / 'x')}"], SPEC))
    assert store.ensure(["both"])["both"] == before, "a program of another component"
    store.own["one"] = store.own.pop("kubelet")
    after = store.ensure(["both"])["both"]
    assert (after.directory / "one").read_text() == "#!/bin/sh\necho mine\n"
    assert (after.directory / "two").read_bytes() == (before.directory / "two").read_bytes()
    assert (after.version, after.source, set(after.files)) == (f"{before.version}+own", "own", {"one", "two"})
    assert after.digest != before.digest
    assert [(pin.version, pin.digest) for pin in store.pins()] == [(after.version, after.digest)]
    assert before.directory != after.directory
    assert (before.directory / "one").read_bytes() != (after.directory / "one").read_bytes()


def test_what_was_brought_does_not_change_with_the_file(tmp_path: Path) -> None:
    store, file = Store(tmp_path / "cache"), tmp_path / "flanneld"
    first = own.bring(store, [f"flanneld={script(file)}"], SPEC)
    assert own.bring(store, [f"flanneld={file}"], SPEC) == first
    second = own.bring(store, [f"flanneld={script(file, 'other')}"], SPEC)
    assert first["flanneld"].read_text() == "#!/bin/sh\necho mine\n"
    assert second["flanneld"].read_text() == "#!/bin/sh\necho other\n"
    assert first["flanneld"].stat().st_mode & 0o777 == 0o555


def test_a_copy_can_be_brought_again(tmp_path: Path) -> None:
    """As a machine of another kernel does, which is told of the copy."""
    store = Store(tmp_path / "cache")
    first = own.bring(store, [f"flanneld={script(tmp_path / 'f')}"], SPEC)
    assert own.bring(store, [f"flanneld={first['flanneld']}"], SPEC) == first


def test_an_image_that_is_brought_goes_to_the_cache(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    saved = archive(tmp_path / "weave.tar", "manifest.json", [{"RepoTags": [KUBE]}])
    assert own.bring(store, [f"weave-kube={saved}"], SPEC) == {}
    assert [path.read_bytes() for path in store.image_archives(["weave-kube"])] == [saved.read_bytes()]
    with pytest.raises(UsageError, match="does not have that image"):
        own.bring(store, [f"weave-npc={saved}"], SPEC)
    assert not (store.cache / "given" / "weave-npc").exists(), NPC


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("flanneld", "it is NAME=PATH"),
        ("=flanneld", "it is NAME=PATH"),
        ("flanneld=/no/such/file", "there is no file /no/such/file"),
        ("weaver={}", "images: weave-kube, weave-npc"),
        ("libcni={}", "flanneld"),
    ],
)
def test_what_cannot_be_meant_is_refused(word: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        own.bring(Store(tmp_path / "cache"), [word.format(script(tmp_path / "file"))], SPEC)
    assert said in str(caught.value)
    assert caught.value.next_step


def test_nodes_of_an_image_keep_their_programs(tmp_path: Path) -> None:
    kind = LabSpec(provider="kind")
    with pytest.raises(UsageError, match="nodes of kind have it in their image"):
        own.bring(Store(tmp_path / "cache"), [f"kubelet={script(tmp_path / 'file')}"], kind)
    assert own.bring(Store(tmp_path / "cache"), [f"flanneld={tmp_path / 'file'}"], kind)


def test_a_program_of_an_image_must_bring_its_libraries(tmp_path: Path) -> None:
    shell = Path(shutil.which("sh") or "/bin/sh").resolve()
    assert "ld-" in own.needs_loader(shell)
    with pytest.raises(UsageError, match="is linked dynamically") as caught:
        own.bring(Store(tmp_path / "cache"), [f"flanneld={shell}"], SPEC)
    assert "CGO_ENABLED=0" in caught.value.next_step
    assert own.bring(Store(tmp_path / "cache"), [f"kubelet={shell}"], SPEC)


def test_a_file_that_ends_early_asks_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(b"\x7fELF\x02\x01")
    assert own.needs_loader(tmp_path / "cut") == ""
