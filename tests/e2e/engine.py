"""A Docker engine of the tests' own, for machines where none runs: Debian's packages, unpacked and never installed.

It lives in a network and a mount namespace of its own. What it would write into /etc, /opt and /run is written to
layers over them; its data is below one directory. Programs that talk to what it forwards must enter its network
namespace.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import apart, timeouts
from harness.components.apt import Apt
from harness.runner import HostRunner

PACKAGES = ("docker.io", "tini", "containerd", "runc")
SYS_RESOURCE = 24

RUNTIME = """\
#!{python}
# Docker 20.10 gives a privileged container every capability, and runc refuses those that this machine lacks.
import json, os, sys

def lower(path, inside):
    with open(path) as file:
        document = json.load(file)
    process = document["process"] if inside else document
    for kind, names in (process.get("capabilities") or {{}}).items():
        process["capabilities"][kind] = [name for name in names if name != "CAP_SYS_RESOURCE"]
    with open(path, "w") as file:
        json.dump(document, file)

words = sys.argv
if "create" in words and "--bundle" in words:
    lower(os.path.join(words[words.index("--bundle") + 1], "config.json"), True)
if "exec" in words and "--process" in words:
    lower(words[words.index("--process") + 1], False)
os.execv({runc!r}, ["runc", *words[1:]])
"""

# Docker makes all mounts private from the root directory on, which in a plain chroot is no mount point: there it gets a
# view of the tree that begins with one.
START = """\
set -e
if ! mountpoint -q /; then
  mkdir -p "$1/tree"
  mount --rbind / "$1/tree"
  exec chroot "$1/tree" sh -c "$START" sh "$@"
fi
ip link set lo up
for place in etc opt; do
  mkdir -p "$1/layers/$place/upper" "$1/layers/$place/work"
  mount -t overlay overlay -o "lowerdir=/$place,upperdir=$1/layers/$place/upper,workdir=$1/layers/$place/work" "/$place"
done
mount -t tmpfs tmpfs /run
shift
exec "$@"
"""


@dataclass(frozen=True)
class Engine:
    """An engine that runs.

    Args:
        socket: Where it listens.
        programs: Directory with `docker`.
        pid: Holds its network namespace; 0 for the machine's own engine.
    """

    socket: str
    programs: str
    pid: int

    @property
    def enter(self) -> list[str]:
        """Words before a program that talks to what the engine forwards."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--"] if self.pid else []


def packages(place: Path) -> Path:
    """Unpack Docker's packages below a directory; skips the test where they is not available."""
    root = place / "root"
    if not Apt.present():
        pytest.skip("no Docker engine answers, and without apt none can be unpacked")
    _unpack(place, root, *PACKAGES)
    if not (root / "usr/bin/docker").exists():
        _unpack(place, root, "docker-cli")  # since Debian 13 a package of its own
    return root


def _unpack(place: Path, root: Path, *names: str) -> None:
    for name in names:
        done = Apt(HostRunner()).download(name, place)
        if not done.ok:
            pytest.skip(f"no Docker engine answers, and {name} cannot be downloaded: {done.tail(1)}")
    for archive in place.glob("*.deb"):
        subprocess.run(["/usr/bin/dpkg-deb", "-x", archive, root], check=True)
        archive.unlink()


def _capability(bit: int) -> bool:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    return bool(int(line.split()[1], 16) >> bit & 1)


@contextmanager
def engine(place: Path, cgroup: str) -> Iterator[Engine]:
    """The machine's engine, where one answers; else one that runs as long as the context is open.

    Args:
        place: Its directory; an ordinary file system, since Docker's layers are overlays.
        cgroup: Parent of its containers' groups.
    """
    there = shutil.which("docker")
    if there and subprocess.run([there, "version"], capture_output=True, check=False).returncode == 0:
        yield Engine(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"), str(Path(there).parent), 0)
        return
    root = packages(place)
    runtime = place / "runtime"
    runtime.write_text(RUNTIME.format(python=sys.executable, runc=str(root / "usr/sbin/runc")))
    runtime.chmod(0o755)
    socket = place / "docker.sock"
    words: list[str | Path] = [
        root / "usr/sbin/dockerd", "--host", f"unix://{socket}", "--data-root", place / "data",
        "--exec-root", place / "exec", "--pidfile", place / "pid", "--cgroup-parent", cgroup,
        "--storage-driver", "overlay2",
    ]  # fmt: skip
    if not _capability(SYS_RESOURCE):
        words += ["--add-runtime", f"lowered={runtime}", "--default-runtime", "lowered"]
    path = f"{root}/usr/bin:{root}/usr/sbin:{os.environ['PATH']}"
    with (place / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(
            [*apart.words("--net"), "sh", "-c", START, "sh", place, *words],
            env={**os.environ, "PATH": path, "START": START},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        timeouts.wait_until("dockerd to answer", lambda: socket.exists() or process.poll() is not None, 60)
        if process.poll() is not None:
            pytest.skip(f"dockerd does not start here: {(place / 'dockerd.log').read_text().splitlines()[-1:]}")
        yield Engine(f"unix://{socket}", f"{root}/usr/bin", process.pid)
    finally:
        _end(process, cgroup)


def _end(process: subprocess.Popen[bytes], cgroup: str) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeouts.scaled(60))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for hierarchy in Path("/sys/fs/cgroup").iterdir():
        for top in (hierarchy / cgroup.strip("/"), Path("/sys/fs/cgroup") / cgroup.strip("/")):
            for folder, _, _ in os.walk(top, topdown=False):
                with suppress(OSError):
                    Path(folder).rmdir()
