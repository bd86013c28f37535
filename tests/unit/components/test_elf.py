"""Programs for another kind of machine are refused where they come in: by name, not by `exec format error`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.components import carry, elf, own
from harness.components.carry import DamagedError
from harness.components.lock import architecture
from harness.components.store import Store
from harness.errors import PreflightError, UsageError
from tests.unit.components.conftest import MakeStore

OTHER, NUMBER = ("arm64", 183) if architecture() == "amd64" else ("amd64", 62)
TOOL = {"system": {"programs": {"tool": "tool"}}}
WHY = f"is a program for {OTHER}, and this machine is {architecture()}"


def program_for(path: Path, machine: int = NUMBER, bits: int = 2, order: int = 1) -> Path:
    number = machine.to_bytes(2, "little" if order == 1 else "big")
    path.write_bytes(b"\x7fELF" + bytes([bits, order]) + bytes(12) + number + bytes(44))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("machine", "bits", "order", "name"),
    [(NUMBER, 2, 1, OTHER), (40, 1, 1, "arm"), (3, 1, 1, "386"), (22, 2, 2, "s390x"), (4711, 2, 1, "machine 4711")],
)
def test_the_header_says_for_which_machine(tmp_path: Path, machine: int, bits: int, order: int, name: str) -> None:
    assert elf.foreign(program_for(tmp_path / "x", machine, bits, order)) == name


def test_this_machines_programs_scripts_and_archives_are_not_foreign(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    (tmp_path / "short").write_bytes(b"\x7fELF")
    (tmp_path / "empty").write_bytes(b"")
    for path in (Path(sys.executable), *tmp_path.iterdir()):
        assert not elf.foreign(path)


def test_a_source_that_brings_one_is_refused(make_store: MakeStore, program: Callable[[str, str], Path]) -> None:
    program_for(program("tool", "1.0"))
    with pytest.raises(PreflightError) as caught:
        make_store("system", tool=TOOL).ensure(["tool"])
    assert f"system: tool {WHY}" in caught.value.cause


@pytest.fixture
def store(make_store: MakeStore, program: Callable[[str, str], Path]) -> Store:
    """A cache with a program for another machine, as a build with GOARCH set has put it there."""
    program_for(program("tool", "1.0"))
    store = make_store("cache", "system", tool=TOOL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elf, "complaint", lambda _: "")
        store.ensure(["tool"])
    return store


def test_one_in_the_cache_is_damage_and_made_anew(store: Store, program: Callable[[str, str], Path]) -> None:
    (tool,) = carry.list_components(store)
    assert tool.state == "damaged"
    assert WHY in tool.problems[0]
    program("tool", "1.0")
    found = store.ensure(["tool"])["tool"].path
    assert found.read_text().startswith("#!/bin/sh")


def test_an_import_of_one_is_refused(store: Store, make_store: MakeStore, tmp_path: Path) -> None:
    archive = tmp_path / "all.tar"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elf, "complaint", lambda _: "")
        carry.export(store, archive)
    with pytest.raises(DamagedError, match="for another kind of machine") as caught:
        carry.import_(make_store("cache", cache="elsewhere", tool=TOOL), archive)
    assert WHY in caught.value.cause


def test_one_that_a_user_brings_is_refused(store: Store, tmp_path: Path) -> None:
    mine = program_for(tmp_path / "mine")
    with pytest.raises(UsageError, match="cannot run here") as caught:
        own.look(Store(store.cache), [f"kubelet={mine}"], ("kubernetes",))
    assert WHY in caught.value.cause
    assert f"GOARCH={architecture()}" in caught.value.next_step
