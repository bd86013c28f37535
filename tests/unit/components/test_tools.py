from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from harness.components.apt import Apt, heartbeat
from harness.components.lock import Tool
from harness.components.tools import Tools, may_install
from harness.errors import PreflightError
from harness.runner import Completed, HostRunner

KNOWN = {
    "here": Tool(name="here", package="here"),
    "cnilab-one": Tool(name="cnilab-one", package="one common"),
    "cnilab-two": Tool(name="cnilab-two", package="two common"),
    "cnilab-extra": Tool(name="cnilab-extra", package="extra", optional=True),
}


class AptGet(HostRunner):
    """Installs into a directory on PATH."""

    def __init__(self, directory: Path, brings: tuple[str, ...] = (), failures: int = 0) -> None:
        super().__init__()
        self.directory, self.brings, self.failures = directory, brings, failures
        self.calls: list[tuple[str, ...]] = []

    def run(self, argv: Any, **_: Any) -> Completed:
        words = tuple(argv)[argv.index("apt-get") + 1 :]
        self.calls.append(words)
        if words[0] == "install" and self.failures:
            self.failures -= 1
            return Completed(tuple(argv), 100, "", "E: Unable to locate package")
        if words[0] == "install":
            for name in self.brings:
                put(self.directory, name)
        return Completed(tuple(argv), 0, "", "")


def put(directory: Path, name: str) -> None:
    (directory / name).write_text("#!/bin/sh\n")
    (directory / name).chmod(0o755)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    put(tmp_path, "here")
    return tmp_path


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


def test_tools_that_are_there_need_no_apt(on_path: Path) -> None:
    apt = AptGet(on_path)
    assert Tools(KNOWN, Apt(apt), install=lambda: True).need("here") == {"here": on_path / "here"}
    assert apt.calls == []


def test_missing_tools_are_installed_in_one_go(on_path: Path) -> None:
    apt = AptGet(on_path, ("cnilab-one", "cnilab-two"))
    said: list[str] = []
    found = Tools(KNOWN, Apt(apt), said.append, install=lambda: True).need("here", "cnilab-one", "cnilab-two")
    assert set(found) == {"here", "cnilab-one", "cnilab-two"}
    assert [call[-3:] for call in apt.calls] == [("one", "common", "two")]
    assert said == ["installing with apt-get: one, common, two"]


def test_what_is_missing_is_installed_before_anything_insists_on_it(on_path: Path) -> None:
    apt = AptGet(on_path, ("cnilab-one",))
    tools = Tools(KNOWN, Apt(apt), install=lambda: True)
    tools.install("cnilab-one", "cnilab-two")
    assert [call[-3:] for call in apt.calls] == [("one", "common", "two")]
    with pytest.raises(PreflightError, match="missing on this machine: cnilab-two"):
        tools.need_all()
    Tools(KNOWN, Apt(apt), install=lambda: False).install("cnilab-two")
    assert len(apt.calls) == 2


@pytest.mark.usefixtures("as_root")
def test_package_lists_are_refreshed_when_a_package_is_unknown(on_path: Path) -> None:
    apt = AptGet(on_path, ("cnilab-one",), failures=1)
    Tools(KNOWN, Apt(apt), install=lambda: True).need("cnilab-one")
    assert [call[0] for call in apt.calls] == ["install", "update", "install"]


def test_all_missing_tools_are_named_with_the_command_that_brings_them(on_path: Path) -> None:
    apt = AptGet(on_path)
    with pytest.raises(PreflightError, match="cnilab-one, cnilab-two") as caught:
        Tools(KNOWN, Apt(apt), install=lambda: False).need("here", "cnilab-one", "cnilab-two", "cnilab-extra")
    assert caught.value.next_step == "as root: apt-get install --no-install-recommends one common two"
    assert apt.calls == []


def test_an_optional_tool_is_left_out(on_path: Path) -> None:
    assert Tools(KNOWN, Apt(AptGet(on_path)), install=lambda: False).need("cnilab-extra") == {}


def test_all_tools_that_a_lab_needs_are_asked_for_and_no_optional_ones(on_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"cnilab-one, cnilab-two\n"):
        Tools(KNOWN, Apt(AptGet(on_path)), install=lambda: False).need_all()


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("variable", "value"), [("CNILAB_APT", "no"), ("CNILAB_OFFLINE", "1")])
def test_the_user_can_forbid_apt(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    for name in ("CNILAB_APT", "CNILAB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert may_install()
    monkeypatch.setenv(variable, value)
    assert not may_install()


def test_silent_work_gives_signs_of_life_until_it_ends() -> None:
    said: list[str] = []
    two = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            two.set()

    with heartbeat(say, "installing", every=0.01):
        assert two.wait(5)
    assert said[0] == "installing: 0 s"
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}
