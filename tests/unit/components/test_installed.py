"""What apt installed for labs goes again, and nothing else; apt and dpkg are played from what they print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.cli import app as entry
from harness.cli import select
from harness.components.apt import Apt, new_packages
from harness.components.installed import Installed, Removal
from harness.errors import PreflightError, UsageError
from harness.runner import Completed, HostRunner

INSTALL = """\
Reading package lists...
The following additional packages will be installed:
  libnftables1 libpcap0.8
The following packages will be upgraded:
  libmnl0
The following NEW packages will be installed:
  ethtool libnftables1 libpcap0.8
  tcpdump
0 upgraded, 4 newly installed, 0 to remove and 3 not upgraded.
Inst ethtool (1:6.1-1 Debian:12.11/oldstable [amd64])
"""


class Debian(HostRunner):
    """A machine with packages.

    Args:
        needed: Package to another one, not of ours, that depends on it.
    """

    def __init__(self, needed: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.there = {"dash"}
        self.needed = dict(needed or {})
        self.works = True
        self.calls: list[list[str]] = []

    def run(self, argv: Any, **_: Any) -> Completed:
        words = [str(word) for word in argv]
        self.calls.append(words)
        text = ""
        if words[0] == "dpkg-query":
            text = "".join(f"{name} amd64 installed\n" for name in words[4:] if name in self.there)
        elif "install" in words:
            text = INSTALL
            self.there |= {"ethtool", "libnftables1", "libpcap0.8", "tcpdump"} if self.works else {"ethtool"}
        elif "autoremove" in words:
            marks = Path(next(word for word in words if word.startswith("Dir::State")).partition("=")[2]).read_text()
            ours = [line.split()[1] for line in marks.splitlines() if line.startswith("Package: ")]
            text = "".join(f"Remv {name} [1.0]\n" for name in ours if name not in self.needed)
        elif "purge" in words:
            going = set(words[words.index("purge") + 1 :])
            going |= {self.needed[name] for name in going & self.needed.keys()}
            text = "".join(f"Purg {name} [1.0]\n" for name in sorted(going))
            if "-s" not in words:
                self.there -= going
        return Completed(tuple(words), 0 if self.works or words[0] == "dpkg-query" else 100, text, "")


def after_an_installation(cache: Path, machine: Debian) -> Installed:
    found = Installed(cache, machine)
    Apt(machine, found.add).install(["tcpdump", "ethtool", "nftables"])
    return found


def test_only_what_was_not_there_before_is_new() -> None:
    assert new_packages(INSTALL) == ["ethtool", "libnftables1", "libpcap0.8", "tcpdump"]
    assert new_packages("ethtool is already the newest version (1:6.1-1).\n0 upgraded, 0 newly installed\n") == []


def test_what_was_installed_is_on_record_and_goes_again(tmp_path: Path) -> None:
    machine = Debian()
    installed = after_an_installation(tmp_path / "cache", machine)
    assert installed.names() == ["ethtool", "libnftables1", "libpcap0.8", "tcpdump"]
    found = installed.removal()
    assert found == Removal(("ethtool", "libnftables1", "libpcap0.8", "tcpdump"), ())
    installed.remove(found.removed)
    assert machine.there == {"dash"}
    assert not (tmp_path / "cache/installed.json").exists()
    assert installed.removal() == Removal((), ())


def test_what_others_need_stays_and_stays_on_record(tmp_path: Path) -> None:
    machine = Debian({"libpcap0.8": "nmap"})
    installed = after_an_installation(tmp_path, machine)
    found = installed.removal()
    assert (found.kept, "libpcap0.8" in found.removed) == (("libpcap0.8",), False)
    installed.remove(found.removed)
    assert installed.names() == ["libpcap0.8"]
    with pytest.raises(PreflightError, match="other packages would be removed with them") as caught:
        installed.remove(["libpcap0.8"])
    assert caught.value.cause == "nmap"
    assert "libpcap0.8" in machine.there


def test_an_installation_that_broke_off_leaves_on_record_what_it_came_to(tmp_path: Path) -> None:
    machine = Debian()
    machine.works = False
    assert after_an_installation(tmp_path, machine).names() == ["ethtool"]


def test_what_the_user_removed_meanwhile_is_no_longer_looked_for(tmp_path: Path) -> None:
    machine = Debian()
    installed = after_an_installation(tmp_path, machine)
    machine.there -= {"tcpdump"}
    assert "tcpdump" not in installed.removal().removed


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "installed.json").write_text("[]")
    with pytest.raises(PreflightError, match="cannot be read"):
        Installed(tmp_path, Debian()).names()


@dataclass
class User:
    """Runs the command on a machine where something was installed."""

    machine: Debian
    cache: Path
    labs: list[str] = field(default_factory=list)

    def __call__(self, *words: str) -> int:
        return entry.run(["--cache", str(self.cache), "components", "uninstall", *words])


@pytest.fixture
def uninstall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    user = User(Debian(), tmp_path)
    after_an_installation(tmp_path, user.machine)
    monkeypatch.setattr(HostRunner, "run", lambda _, argv, **options: user.machine.run(argv, **options))
    monkeypatch.setattr(select, "names", lambda: user.labs)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return user


def test_a_dry_run_shows_and_removes_nothing(uninstall: User, capsys: pytest.CaptureFixture[str]) -> None:
    assert uninstall("--dry-run") == 0
    assert "tcpdump" in uninstall.machine.there
    assert ["tcpdump", "remove"] in [line.split()[:2] for line in capsys.readouterr().out.splitlines()]


def test_yes_removes(uninstall: User) -> None:
    assert uninstall("--yes") == 0
    assert uninstall.machine.there == {"dash"}


def test_nothing_is_removed_unasked(uninstall: User, capsys: pytest.CaptureFixture[str]) -> None:
    assert uninstall() == UsageError.exit_code
    assert "cannot ask for confirmation" in capsys.readouterr().err
    assert "tcpdump" in uninstall.machine.there


def test_nothing_is_removed_below_a_lab(uninstall: User, capsys: pytest.CaptureFixture[str]) -> None:
    uninstall.labs.append("one")
    assert uninstall("-y") == UsageError.exit_code
    assert "clusters are up" in capsys.readouterr().err
    assert "tcpdump" in uninstall.machine.there


def test_nothing_is_removed_without_root(
    uninstall: User, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert uninstall("-y") == PreflightError.exit_code
    assert "needs root" in capsys.readouterr().err
    assert "tcpdump" in uninstall.machine.there
