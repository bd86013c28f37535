from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from harness.components import resolver
from harness.components.lock import Component
from harness.components.resolver import default_sources, nothing_worked
from harness.components.sources.base import Delivered, Desk, Refused
from harness.components.store import Store
from harness.errors import PreflightError, UsageError
from harness.model.records import Event

GOLDEN = Path(__file__).parents[2] / "golden" / "components"
SYSTEM = {"system": {"programs": {"tool": "tool"}}, "probe": ["tool", "--version"], "accept": ">=1.2,<2"}
UNREACHABLE = {
    "artefacts": [{"url": "http://127.0.0.1:9/x", "checksum": "http://127.0.0.1:9/x.sha256", "files": {"tool": ""}}]
}
MakeStore = Callable[..., Store]
Program = Callable[[str, str], Path]


class FakeBuild:
    """A build that does as it is told."""

    name: ClassVar[str] = "build"

    def __init__(self, act: Callable[[Desk], None]) -> None:
        self.act = act
        self.calls = 0

    def deliver(self, component: Component, desk: Desk) -> Delivered | Refused:
        if component.build is None:
            return Refused("no module")
        self.calls += 1
        (desk.files / component.name).write_bytes(b"half")
        self.act(desk)
        (desk.files / component.name).write_bytes(b"whole")
        return Delivered(component.pinned, "a fake")


BUILD = {"build": {"module": "x", "target": ".", "files": {"x": "x"}}}


def left_in(store: Store) -> list[str]:
    """Files of a cache other than locks."""
    paths = (path for path in store.cache.rglob("*") if path.is_file())
    return [str(path.relative_to(store.cache)) for path in paths if "locks" not in path.parts]


def test_a_program_of_the_machine_in_the_accepted_range_is_copied(make_store: MakeStore, program: Program) -> None:
    path = program("tool", "1.5.2")
    store = make_store("system", tool=SYSTEM)
    found = store.ensure(["tool"])["tool"]
    assert (found.version, found.source, found.path.read_bytes()) == ("1.5.2", "system", path.read_bytes())
    assert store.cache in found.path.parents


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_a_program_outside_the_range_is_refused_with_both_numbers(
    make_store: MakeStore, program: Program, version: str
) -> None:
    path = program("tool", version)
    with pytest.raises(PreflightError) as caught:
        make_store("system", tool=SYSTEM).ensure(["tool"])
    assert caught.value.cause == f"system: {path.parent}: tool is version {version}, but >=1.2,<2 is needed"


def test_the_cache_answers_before_any_source(make_store: MakeStore, program: Program) -> None:
    program("tool", "1.5")
    make_store("system", tool=SYSTEM).ensure(["tool"])
    store = make_store("cache", tool=SYSTEM)
    assert store.ensure(["tool"])["tool"].source == "system"


def test_a_second_call_takes_no_step(make_store: MakeStore, program: Program, events: list[Event]) -> None:
    program("tool", "1.5")
    store = make_store("cache", "system", tool=SYSTEM)
    store.ensure(["tool"])
    assert [event.state for event in events] == ["started", "ok"]
    store.ensure(["tool"])
    assert len(events) == 2


def test_a_copy_follows_when_the_machine_upgrades_its_program(make_store: MakeStore, program: Program) -> None:
    program("tool", "1.5")
    store = make_store("cache", "system", tool=SYSTEM)
    assert store.ensure(["tool"])["tool"].version == "1.5"
    program("tool", "1.6.1")
    assert store.ensure(["tool"])["tool"].version == "1.6.1"


def test_a_copy_stays_good_when_the_machine_loses_its_program(make_store: MakeStore, program: Program) -> None:
    path = program("tool", "1.5")
    store = make_store("cache", "system", tool=SYSTEM)
    store.ensure(["tool"])
    path.unlink()
    assert store.ensure(["tool"])["tool"].version == "1.5"


def test_sources_are_tried_in_the_order_given(make_store: MakeStore, program: Program) -> None:
    program("tool", "1.5")
    build = FakeBuild(lambda _: None)
    component = {**SYSTEM, "build": BUILD["build"]}
    for order, expected in ((("system", "build"), "system"), (("build", "system"), "build")):
        store = make_store(*order, cache=expected, tool=component)
        store._offers["build"] = build
        assert store.ensure(["tool"])["tool"].source == expected


def test_a_changed_pin_is_another_entry(make_store: MakeStore, program: Program) -> None:
    program("tool", "1.5")
    one = make_store("cache", "system", tool=SYSTEM)
    one.ensure(["tool"])
    other = make_store("cache", "system", tool={**SYSTEM, "version": "1.4"})
    assert other.cached("tool") is None


def test_other_words_about_a_component_are_the_same_entry(make_store: MakeStore) -> None:
    one = make_store("cache", x={"build": {**BUILD["build"], "seconds": 1}})
    other = make_store("cache", x={"build": {**BUILD["build"], "seconds": 2}, "summary": "other words"})
    assert one.directory(one.lock.find("x")) == other.directory(other.lock.find("x"))


def test_a_changed_file_in_the_cache_is_noticed_without_hashing(make_store: MakeStore, program: Program) -> None:
    program("tool", "1.5")
    store = make_store("cache", "system", tool=SYSTEM)
    path = store.ensure(["tool"])["tool"].path
    path.chmod(0o755)
    path.write_bytes(path.read_bytes())
    os.utime(path, (1, 1))
    assert store.cached("tool") is None


def test_an_interrupted_build_leaves_nothing(make_store: MakeStore) -> None:
    def interrupt(_: Desk) -> None:
        raise KeyboardInterrupt

    store = make_store("build", x=BUILD)
    store._offers["build"] = FakeBuild(interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.ensure(["x"])
    assert left_in(store) == []
    assert store.cached("x") is None


def test_what_a_killed_process_left_does_not_disturb_the_next(make_store: MakeStore) -> None:
    store = make_store("build", x=BUILD)
    store._offers["build"] = FakeBuild(lambda _: None)
    leftover = store.cache / "scratch" / "component-x" / "build" / "entry" / "files" / "x"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    assert store.ensure(["x"])["x"].path.read_bytes() == b"whole"
    assert not leftover.exists()


def test_two_at_once_build_it_once(make_store: MakeStore) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(_: Desk) -> None:
        entered.set()
        assert go_on.wait(10)

    build = FakeBuild(slow)
    stores = [make_store("cache", "build", x=BUILD) for _ in range(2)]
    for store in stores:
        store._offers["build"] = build
    threads = [threading.Thread(target=store.ensure, args=(["x"],)) for store in stores]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert build.calls == 1
    assert [store.pins()[0].version for store in stores] == ["1.0", "1.0"]


def test_one_failure_stops_the_others(make_store: MakeStore) -> None:
    started = threading.Event()

    def until_cancelled(desk: Desk) -> None:
        started.set()
        assert desk.cancelled.wait(10), "was never told to stop"
        desk.check()

    store = make_store("system", "build", x=BUILD, tool=SYSTEM)
    store._offers["build"] = FakeBuild(until_cancelled)
    with pytest.raises(PreflightError, match=r"tool 1\.0"):
        store.ensure(["x", "tool"])
    assert left_in(store) == []


def test_a_cache_that_cannot_be_written_is_an_error_with_a_way_out(make_store: MakeStore, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a directory is needed")
    with pytest.raises(PreflightError, match="cannot make component-tool in the cache") as caught:
        make_store("system", tool=SYSTEM).ensure(["tool"])
    assert "CNILAB_CACHE" in caught.value.next_step


def test_a_full_disk_is_told_as_such_and_no_other_source_is_tried(make_store: MakeStore) -> None:
    def full(_: Desk) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full(FakeBuild):
        def deliver(self, component: Component, desk: Desk) -> Delivered | Refused:
            self.calls += 1
            return Refused(f"go build of {component.name} failed in {desk.scratch}: write: no space left on device")

    for build in (FakeBuild(full), Full(full)):
        store = make_store("build", "system", x={**BUILD, **SYSTEM})
        store._offers["build"] = build
        with pytest.raises(PreflightError, match="cannot make component-x in the cache") as caught:
            store.ensure(["x"])
        assert "no space left" in caught.value.cause.lower()
        assert left_in(store) == []


def test_without_any_remedy_of_a_source_the_way_out_is_another_cache() -> None:
    component = Component.model_validate({"name": "x", "summary": "", "version": "1", "kind": "bin", **BUILD})
    assert nothing_worked(component, [("cache", Refused("not cached yet"))]).next_step.startswith("copy the cache")


def test_a_program_has_a_path_of_its_own_in_a_release_and_in_a_build(
    make_store: MakeStore, program: Callable[[str, str], Path]
) -> None:
    """A release has a file for each program; what is built here is one, which does what its name says."""
    for name in ("all", "kubectl", "kubelet"):
        program(name, "1.0")
    built = {"system": {"programs": {"all": "all"}}, "links": {"kubectl": "all", "kubelet": "all"}}
    released = {"system": {"programs": {"kubectl": "kubectl", "kubelet": "kubelet"}}}
    for entry in (built, released):
        store = make_store(kubernetes=entry)
        kubectl = store.program("kubectl")
        assert (kubectl.name, kubectl.is_file()) == ("kubectl", True)
        assert store.program("kubernetes") == store.ensure(["kubernetes"])["kubernetes"].path


def test_a_bin_directory_has_programs_and_links_and_is_made_once(make_store: MakeStore) -> None:
    store = make_store("build", x={**BUILD, "links": {"alias": "x", "elsewhere": "y"}})
    store._offers["build"] = FakeBuild(lambda _: None)
    place = store.bin_dir(["x"])
    assert sorted(path.name for path in place.iterdir()) == ["alias", "x"]
    assert (place / "alias").readlink() == Path("x")
    assert (place / "x").stat().st_ino == store.ensure(["x"])["x"].path.stat().st_ino
    assert store.bin_dir(["x"]) == place


def test_an_unknown_source_is_named() -> None:
    with pytest.raises(UsageError, match="no source of components is named 'guess'"):
        Store(Path("/nowhere"), ("guess",))


def test_sources_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CNILAB_OFFLINE", raising=False)
    monkeypatch.setenv("CNILAB_SOURCES", " cache, build,")
    assert default_sources() == ("cache", "build")
    monkeypatch.delenv("CNILAB_SOURCES")
    assert default_sources() == resolver.DEFAULT_SOURCES
    monkeypatch.setenv("CNILAB_OFFLINE", "1")
    assert default_sources() == ("cache", "system", "build")


def test_old_entries_go_and_recent_ones_stay(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store("system", tool=SYSTEM)
    for age, name in enumerate(("now", "kept", "old", "older")):
        (tmp_path / "dir" / name).mkdir(parents=True)
        moment = (tmp_path / "dir").stat().st_mtime - age * 7200
        os.utime(tmp_path / "dir" / name, (moment, moment))
    store.forget_old(tmp_path / "dir", keep=2, hours=1)
    assert {path.name for path in (tmp_path / "dir").iterdir()} == {"now", "kept"}
    store.forget_old(tmp_path / "dir", keep=0, hours=100)
    assert {path.name for path in (tmp_path / "dir").iterdir()} == {"now", "kept"}


def test_the_error_when_nothing_works_says_all_that_was_tried_and_what_to_do() -> None:
    component = Component.model_validate(
        {"name": "flannel", "summary": "the agent of every node", "version": "0.28.10", "kind": "image", **BUILD}
    )
    error = nothing_worked(
        component,
        [
            ("cache", Refused("not cached yet")),
            ("package", Refused("apt-get download flannel failed: E: Unable to locate", "run 'apt-get update'")),
            ("release", Refused("github.com cannot be reached: no answer within 2 s")),
            ("build", Refused("go is not on PATH", "install Go 1.21 or newer")),
        ],
    )
    assert f"{error}\n" == (GOLDEN / "nothing-worked.txt").read_text()


def test_every_source_is_in_the_error(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    package = {"name": "tool", "files": {"tool": "usr/bin/tool"}}
    component = {
        **SYSTEM,
        **BUILD,
        "package": package,
        "release": UNREACHABLE,
    }
    with pytest.raises(PreflightError) as caught:
        make_store(tool=component).ensure(["tool"])
    assert [line.partition(":")[0] for line in caught.value.cause.splitlines()] == list(resolver.DEFAULT_SOURCES)
