"""Packages of the distribution, unpacked into the cache and never installed.

Installing containerd or etcd starts a service on machines with systemd. Unpacking does not: dpkg's database, the
machine's services and its files stay as they were.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

from harness import timeouts
from harness.components.apt import Apt, heartbeat
from harness.components.lock import Component, Package
from harness.components.sources.base import Delivered, Desk, Refused, examine


class PackageSource:
    """Downloads a .deb and unpacks it.

    Args:
        apt: Downloads.
    """

    name: ClassVar[str] = "package"

    def __init__(self, apt: Apt) -> None:
        self._apt = apt

    def deliver(self, component: Component, desk: Desk) -> Delivered | Refused:
        """See `Source.deliver`."""
        wanted = component.package
        if wanted is None:
            return Refused("the lock names no package")
        if not self._apt.present():
            return Refused("apt-get and dpkg-deb are not on PATH: not a Debian or Ubuntu machine")
        with heartbeat(desk.say, f"downloading package {wanted.name}"):
            done = self._apt.download(wanted.name, desk.scratch)
        archives = sorted(desk.scratch.glob("*.deb"))
        if not done.ok or not archives:
            return Refused(
                f"apt-get download {wanted.name} failed: {done.tail(1)}", "run 'apt-get update' and look at its errors"
            )
        return self._unpack(component, wanted, archives[0], desk)

    def _unpack(self, component: Component, wanted: Package, archive: Path, desk: Desk) -> Delivered | Refused:
        root = desk.scratch / "root"
        done = desk.runner.run(("dpkg-deb", "-x", archive, root), timeout=timeouts.DOWNLOAD, check=False)
        if not done.ok:
            return Refused(f"{archive.name} cannot be unpacked: {done.tail(5)}")
        exact = desk.runner.run(("dpkg-deb", "-f", archive, "Version")).stdout.strip()
        for name, path in wanted.files.items():
            source = root / path
            if not source.is_file():
                return Refused(f"{archive.name} has no {path}")
            shutil.copy2(source, desk.files / name)
        version = examine(component, desk)
        return version if isinstance(version, Refused) else Delivered(version, f"package {wanted.name} {exact}")
