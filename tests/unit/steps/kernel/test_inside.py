from __future__ import annotations

from pathlib import Path

import pytest

from harness import timeouts
from harness.components import kernel_package as kernels
from harness.components.store import Store
from harness.errors import PreflightError
from harness.model.journal import Journal
from harness.model.spec import LabSpec
from harness.model.wellknown import INSIDE
from harness.providers.namespaces.layout import LabLayout
from harness.steps.kernel import inside as kernel
from harness.vm import machine

LAYOUT = LabLayout(Path("/state"), "one")

PROGRAM = kernel.Program(("cnilab",), ("harness.timeouts",))


def test_only_another_kernel_wants_a_machine_and_only_outside_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(INSIDE, raising=False)
    assert kernel.wanted(LabSpec(kernel="debian"))
    assert not kernel.wanted(LabSpec())
    monkeypatch.setenv(INSIDE, "one")
    assert not kernel.wanted(LabSpec(kernel="debian"))


def test_inside_there_is_no_network_and_more_patience() -> None:
    outside = {"CNILAB_TIMEOUT_SCALE": "3", "CNILAB_CACHE": "/elsewhere", "SSH_AUTH_SOCK": "/agent", "PATH": "/bin"}
    with timeouts.paced(2):
        env = kernel.environment(outside, LAYOUT, "tcg")
        quick = kernel.environment(outside, LAYOUT, "kvm")
    assert (env["CNILAB_OFFLINE"], env["CNILAB_APT"]) == ("1", "no")
    assert env["CNILAB_TIMEOUT_SCALE"] == "8"
    assert env["CNILAB_CACHE"] == "/state/cache"
    assert "SSH_AUTH_SOCK" not in env
    assert quick["CNILAB_TIMEOUT_SCALE"] == "2"


def test_a_machine_stays_within_its_users_share_of_the_processor() -> None:
    mounts = ("cpuset", "cpu,cpuacct", "cpu", "pids", "unified")
    groups = [Path("/sys/fs/cgroup", mount, "cnilab", "one.1") for mount in mounts]
    assert kernel.joinable(groups) == groups[3:]
    assert kernel.joinable([Path("/sys/fs/cgroup/cnilab/one.1")]) == [Path("/sys/fs/cgroup/cnilab/one.1")]


def test_modules_are_compiled_once_and_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    store = Store(tmp_path / "cache")
    kernel.compile_modules(store, PROGRAM)
    (made,) = store.cache.rglob("timeouts.*.pyc")
    assert str(made.parent).endswith(str(Path(timeouts.__file__).parent))
    before = made.stat().st_mtime_ns
    kernel.compile_modules(store, PROGRAM)
    assert made.stat().st_mtime_ns == before
    inside = kernel.environment({}, LAYOUT, "kvm")
    assert inside["PYTHONPYCACHEPREFIX"] == "/state/cache/bytecode"
    assert "PYTHONDONTWRITEBYTECODE" not in inside


def test_only_modules_of_this_python_and_this_checkout_are_given_to_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "cache")
    here, old, python = tmp_path / "here", tmp_path / "old", tmp_path / "python"
    monkeypatch.setattr(kernel, "_CODE", (here / ".venv", python, here))
    for folder in (here, here / ".venv", old, python):
        made = store.cache / kernel.BYTECODE / folder.relative_to("/") / "one.pyc"
        made.parent.mkdir(parents=True, exist_ok=True)
        made.touch()
    kernel._copy_modules(store, tmp_path / "copy")
    copied = {path.relative_to(tmp_path / "copy") for path in (tmp_path / "copy").rglob("*.pyc")}
    assert copied == {folder.relative_to("/") / "one.pyc" for folder in (here, here / ".venv", python)}


def test_a_machine_without_a_lab_sees_what_the_cache_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "cache")
    given = store.cache / "given/weave-kube/weave-kube.tar"
    given.parent.mkdir(parents=True)
    given.touch()
    (tmp_path / "cache/kernels/debian/6.1.0-56-cloud-amd64").mkdir(parents=True)
    monkeypatch.setattr(machine, "require_programs", lambda: None)
    monkeypatch.setattr(store.tools, "need", lambda *_: None)
    made = kernel._materials(LabSpec(kernel="debian"), store, None, LabLayout(tmp_path / "state", "doctor-1"), PROGRAM)
    inside = made.disk / "state" / kernel.CACHE
    assert (inside / "given/weave-kube/weave-kube.tar").is_file()
    assert not (inside / "images").is_symlink()


def test_a_disk_that_is_full_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object) -> None:
        del words
        raise OSError(28, "No space left on device", "/some/file")

    monkeypatch.setattr(kernel, "_materials", full)
    with pytest.raises(PreflightError, match="files of the virtual machine") as caught:
        kernel.start(LabSpec(name="one"), None, Store(tmp_path / "cache"), tmp_path, Journal(), PROGRAM)
    assert "No space left on device" in caught.value.cause
    assert caught.value.next_step


def test_a_name_that_is_taken_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "labs/one").mkdir(parents=True)
    with pytest.raises(PreflightError, match="already a cluster named 'one'"):
        kernel.start(LabSpec(name="one"), None, Store(tmp_path / "cache"), tmp_path, Journal(), PROGRAM)


def test_a_kernel_that_nobody_may_fetch_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNILAB_OFFLINE", "1")
    with pytest.raises(PreflightError) as caught:
        kernels.deliver(Store(tmp_path), "debian")
    assert "CNILAB_OFFLINE=1" in caught.value.cause
    assert "linux-image-cloud-" in caught.value.next_step


def test_the_newest_kernel_of_the_cache_is_used(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert kernels.cached(store, "debian") is None
    (tmp_path / "kernels/debian/6.1.0-56-cloud-amd64").mkdir(parents=True)
    found = kernels.deliver(store, "debian")
    assert found.release == "6.1.0-56-cloud-amd64"
    assert found.image == tmp_path / "kernels/debian/6.1.0-56-cloud-amd64/vmlinuz"


def test_what_the_machine_said_outlives_the_lab(tmp_path: Path) -> None:
    folder = tmp_path / "state/labs/one/vm"
    folder.mkdir(parents=True)
    (folder / "console.log").write_text("Kernel panic")
    kept = kernel.keep_logs(tmp_path / "state", "one", tmp_path / "run")
    assert [path.name for path in kept.iterdir()] == ["console.log"]
    assert (kept / "console.log").read_text() == "Kernel panic"
