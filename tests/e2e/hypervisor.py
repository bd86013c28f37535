"""A libvirt of the tests' own, for Vagrant: in namespaces of its own, so that it leaves nothing on the machine.

Its networks, their dnsmasq and their firewall rules are in a network namespace of its own; what it would write into
/etc, /var and /run goes to layers over them; and all of its processes, the virtual machines among them, end with the
first one of their PID namespace.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import apart, timeouts
from harness.components.apt import Apt
from harness.components.tools import may_install, which
from harness.runner import HostRunner

PROGRAMS = {
    "vagrant": ("vagrant", "vagrant-libvirt"),
    "libvirtd": ("libvirt-daemon", "libvirt-daemon-driver-qemu"),
    "virsh": ("libvirt-clients",),
    "dnsmasq": ("dnsmasq-base",),
    "qemu-system-x86_64": ("qemu-system-x86", "qemu-utils"),
    "ssh": ("openssh-client",),
}
"""Program to the packages that bring it and what belongs to it. None of them starts anything by itself."""

ACCOUNTS = {
    "passwd": "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin",
    "group": "libvirt-qemu:x:64055:\nkvm:x:64056:",
}
"""libvirtd asks for them, though its machines run as root: who is root in here owns the files of the test alone."""

DAEMON = 'auth_unix_rw = "none"\nauth_unix_ro = "none"\n'

MACHINES = """\
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
seccomp_sandbox = 0
stdio_handler = "file"
"""
"""No control groups: they are not in namespaces, and would stay."""

# The shell stays the first process, and so the one that waits for machines whose starter has ended.
START = """\
set -e
ip link set lo up
for top in etc var; do
  mount -t overlay overlay -o "lowerdir=/$top,upperdir=$1/$top/upper,workdir=$1/$top/work" "/$top"
done
mount -t tmpfs tmpfs /run
mkdir /run/lock
libvirtd &
wait $!
"""


@dataclass(frozen=True)
class Hypervisor:
    """A libvirt that runs.

    Args:
        pid: The first process of its namespaces.
    """

    pid: int

    def enter(self, folder: Path) -> list[str]:
        """Words before a program that talks to libvirt and to its machines."""
        namespaces = ("--mount", "--net", "--pid")
        return ["nsenter", "--target", str(self.pid), *namespaces, "--", "env", "-C", str(folder)]

    def run(
        self, *words: str | Path, folder: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there to its end.

        Args:
            words: The vector.
            folder: Working directory.
            env: Added to the environment.
            timeout: Seconds, before scaling.
        """
        return subprocess.run(
            [*self.enter(folder), *map(str, words)],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            check=False,
            errors="replace",
            timeout=timeouts.scaled(timeout),
        )


def install(programs: Iterable[str] = PROGRAMS, known: Mapping[str, tuple[str, ...]] = PROGRAMS) -> None:
    """Bring programs; skips the test where they is not available.

    Args:
        programs: Which.
        known: Program to the packages that bring it.
    """
    missing = [program for program in programs if which(program) is None]
    if missing and may_install():
        Apt(HostRunner()).install([package for program in missing for package in known[program]])
    if lacking := [program for program in missing if which(program) is None]:
        packages = " ".join(package for program in lacking for package in known[program])
        pytest.skip(f"missing: {', '.join(lacking)}; apt-get install --no-install-recommends {packages}")


@contextmanager
def hypervisor(place: Path) -> Iterator[Hypervisor]:
    """A libvirt that runs as long as the context is open, and its machines no longer than that.

    Args:
        place: Its directory; an ordinary file system, which overlays can be laid on. The disks are in it.
    """
    for top in ("etc", "var"):
        for layer in ("upper", "work"):
            (place / top / layer).mkdir(parents=True)
    for name, lines in ACCOUNTS.items():
        (place / "etc/upper" / name).write_text(f"{Path('/etc', name).read_text()}{lines}\n")
    (place / "etc/upper/libvirt").mkdir()
    (place / "etc/upper/libvirt/libvirtd.conf").write_text(DAEMON)
    (place / "etc/upper/libvirt/qemu.conf").write_text(MACHINES)
    own = apart.words("--net", "--pid", "--fork", "--kill-child", "--mount-proc")
    with (place / "libvirtd.log").open("wb") as log:
        process = subprocess.Popen(
            [*own, "sh", "-c", START, "sh", place], stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield _answering(process, place / "libvirtd.log")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        shutil.rmtree(place, ignore_errors=True)


def _answering(process: subprocess.Popen[bytes], log: Path) -> Hypervisor:
    def answers() -> Hypervisor | None:
        if process.poll() is not None:
            pytest.skip(f"libvirtd does not start here: {log.read_text().splitlines()[-1:]}")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if not children:
            return None
        found = Hypervisor(int(children[0]))
        done = found.run("virsh", "-c", "qemu:///system", "version", folder=Path("/"), env={}, timeout=30)
        return found if done.returncode == 0 else None

    return timeouts.wait_until("libvirtd to answer", answers, 120, interval=0.5)
