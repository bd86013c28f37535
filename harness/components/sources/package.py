"""Packages of the distribution, unpacked into the cache and never installed.

Installing containerd or etcd starts a service on machines with systemd. Unpacking does not: dpkg's database, the
machine's services and its files stay as they were.
"""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import ClassVar

from harness import timeouts
from harness.components.lock import Component, Package
from harness.components.sources.base import Delivered, Desk, Refused, outside, probe_version
from harness.runner import Completed

_QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


class PackageSource:
    """Downloads a .deb with apt, which checks its signature chain, and unpacks it."""

    name: ClassVar[str] = "package"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refreshed = False

    def deliver(self, component: Component, desk: Desk) -> Delivered | Refused:
        """See `Source.deliver`."""
        wanted = component.package
        if wanted is None:
            return Refused("the lock names no package")
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            return Refused("apt-get and dpkg-deb are not on PATH: not a Debian or Ubuntu machine")
        # APT::Sandbox::User: the scratch directory is ours alone, apt's own user could not write to it.
        download = ("apt-get", "download", "-o", "APT::Sandbox::User=root", wanted.name)
        desk.say(f"downloading package {wanted.name}")
        with self._lock:  # apt's cache of package lists is rebuilt by the first caller, not by all at once
            done = self._apt(desk, download)
            if not done.ok and os.geteuid() == 0 and not self._refreshed:
                self._refreshed = True
                desk.say("refreshing the package lists")
                self._apt(desk, ("apt-get", "update", "-q"))
                done = self._apt(desk, download)
        archives = sorted(desk.scratch.glob("*.deb"))
        if not done.ok or not archives:
            return Refused(
                f"apt-get download {wanted.name} failed: {done.tail(1)}", "run 'apt-get update' and look at its errors"
            )
        return self._unpack(component, wanted, archives[0], desk)

    def _apt(self, desk: Desk, argv: tuple[str, ...]) -> Completed:
        return desk.runner.run(
            ("env", "-C", str(desk.scratch), *argv), env=_QUIET, timeout=timeouts.DOWNLOAD, check=False
        )

    def _unpack(self, component: Component, wanted: Package, archive: Path, desk: Desk) -> Delivered | Refused:
        root = desk.scratch / "root"
        desk.runner.run(("dpkg-deb", "-x", archive, root), timeout=timeouts.DOWNLOAD)
        exact = desk.runner.run(("dpkg-deb", "-f", archive, "Version")).stdout.strip()
        for name, path in wanted.files.items():
            source = root / path
            if not source.is_file():
                return Refused(f"{archive.name} has no {path}")
            shutil.copy2(source, desk.files / name)
        if complaint := self._complaint(wanted, exact, desk):
            return Refused(f"{wanted.name} {exact} {complaint}")
        return Delivered(exact or component.pinned, f"package {wanted.name} {exact}")

    @staticmethod
    def _complaint(wanted: Package, exact: str, desk: Desk) -> str:
        """Run what was unpacked: a missing shared library shows here and not in a half-made lab."""
        if not wanted.version:
            return outside(wanted.accept, exact)
        program, *arguments = wanted.version
        version = probe_version(desk.runner, (desk.files / program, *arguments))
        if not version:
            done = desk.runner.run((desk.files / program, *arguments), check=False)
            return f"does not run here: {done.tail(1)}"
        return outside(wanted.accept, version)
