from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.components.apt import Apt
from harness.components.lock import Component
from harness.components.sources.base import Delivered, Desk, Refused
from harness.components.sources.package import PackageSource
from harness.runner import Completed, HostRunner

PROGRAM = "#!/bin/sh\necho daemon version 3.4.23\n"


class Dpkg(HostRunner):
    """apt-get and dpkg-deb of a machine whose one package has one program."""

    def __init__(self, program: str = PROGRAM, *, known: bool = True) -> None:
        super().__init__()
        self.program, self.known = program, known
        self.words: list[str] = []

    def run(self, argv: Any, **options: Any) -> Completed:
        vector = tuple(map(str, argv))
        if "apt-get" in vector:
            self.words.append(vector[vector.index("apt-get") + 1])
            if "download" not in vector:
                return Completed(vector, 0, "", "")
            if not self.known:
                return Completed(vector, 100, "", "E: Unable to locate package daemon")
            (Path(vector[2]) / "daemon_3.4.23-4_amd64.deb").write_text("!<arch>")
            return Completed(vector, 0, "", "")
        if vector[:2] == ("dpkg-deb", "-x"):
            place = Path(vector[3]) / "usr" / "bin"
            place.mkdir(parents=True)
            (place / "daemon").write_text(self.program)
            return Completed(vector, 0, "", "")
        if vector[:2] == ("dpkg-deb", "-f"):
            return Completed(vector, 0, "3.4.23-4+b4\n", "")
        return super().run(argv, **options)


@pytest.fixture
def deliver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Dpkg], Delivered | Refused]:
    monkeypatch.setattr(Apt, "present", staticmethod(lambda: True))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    for name in ("files", "scratch"):
        (tmp_path / name).mkdir()

    def run(machine: Dpkg, path: str = "usr/bin/daemon") -> Delivered | Refused:
        component = Component.model_validate(
            {
                "name": "daemon",
                "summary": "a test",
                "version": "3.5.21",
                "kind": "bin",
                "probe": ["daemon", "--version"],
                "accept": ">=3.4",
                "package": {"name": "daemon", "files": {"daemon": path}},
            }
        )
        desk = Desk(tmp_path / "files", tmp_path / "scratch", machine, lambda _: None)
        return PackageSource(Apt(machine)).deliver(component, desk)

    return run


def test_a_daemon_is_unpacked_and_never_installed(deliver: Callable[..., Delivered | Refused], tmp_path: Path) -> None:
    machine = Dpkg()
    assert deliver(machine) == Delivered("3.4.23", "package daemon 3.4.23-4+b4")
    assert (tmp_path / "files" / "daemon").read_text() == PROGRAM
    assert machine.words == ["download"]


def test_package_lists_are_refreshed_once_before_giving_up(deliver: Callable[..., Delivered | Refused]) -> None:
    machine = Dpkg(known=False)
    answer = deliver(machine)
    assert isinstance(answer, Refused)
    assert "Unable to locate package daemon" in answer.reason
    assert machine.words == ["download", "update", "download"]


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("#!/bin/sh\necho version 3.3.9\n", "daemon is version 3.3.9, but >=3.4 is needed"),
        ("#!/bin/sh\necho libseccomp.so.2 >&2; exit 127\n", "daemon does not run here: libseccomp.so.2"),
    ],
)
def test_what_was_unpacked_is_run_before_it_is_taken(
    deliver: Callable[..., Delivered | Refused], program: str, reason: str
) -> None:
    assert deliver(Dpkg(program)) == Refused(reason)


def test_a_package_without_the_program_is_refused(deliver: Callable[..., Delivered | Refused]) -> None:
    answer = deliver(Dpkg(), "usr/sbin/daemon")
    assert answer == Refused("daemon_3.4.23-4_amd64.deb has no usr/sbin/daemon")


def test_another_distribution_is_refused(
    deliver: Callable[..., Delivered | Refused], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Apt, "present", staticmethod(lambda: False))
    answer = deliver(Dpkg())
    assert isinstance(answer, Refused)
    assert "not a Debian or Ubuntu machine" in answer.reason
