"""Starts the machine of a lab, and finds it again.

All its processes are in control groups that the caller names, and its files in one folder: what removes these removes
the machine, after a crash as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from harness import apart, timeouts
from harness.errors import BringUpError, PreflightError
from harness.model.base import Record
from harness.model.wellknown import API_PORT
from harness.runner import HostRunner, stop
from harness.vm import guest, initramfs, qemu
from harness.vm.channel import Door

DISK = 24 << 30
"""Bytes; the file is sparse."""

STARTED, READY = "cnilab-vm: started", "cnilab-vm: ready"
FIRST_SIGN = 15.0
"""Seconds in which a kernel says its first word when the processor runs it: one that cannot never does."""

BOOT = 300.0
SLOWER = {"kvm": 1.0, "tcg": 4.0}
"""Factor on deadlines for what runs inside, by accelerator."""

LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path."""

VIRTIOFSD = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/lib/virtiofsd")

_PID_FILES = Path("/run/virtiofsd")
"""Where the virtiofsd of qemu writes a file for every socket, and leaves it."""

# In a mount namespace of virtiofsd's own, its PID file ends with it. Seen from there, and so from the guest, what is
# bound below the view is read-only, whatever root does in there.
_APART = f"""\
set -e
mkdir -p {_PID_FILES}
mount -t tmpfs tmpfs {_PID_FILES} 2>/dev/null || {{ mkdir -p {_PID_FILES}; mount -t tmpfs tmpfs {_PID_FILES}; }}
view=$1; shift
while [ "$1" != -- ]; do
    mount --bind "$1" "$view$1"
    mount -o remount,bind,ro "$view$1"
    shift
done
shift
exec "$@"
"""

# From here on whoever takes the lab down finds the process, even if this program is killed at once.
_JOIN = 'for group in "$@"; do shift; [ "$group" = -- ] && break; echo 0 > "$group/cgroup.procs"; done; exec "$@"'


class VmState(Record):
    """Content of `vm/state.json`."""

    kernel: str
    release: str = Field(description="As uname -r says inside")
    accelerator: str
    agent_port: int
    api_port: int
    token: str


@dataclass(frozen=True)
class MachineMaterials:
    """What a machine is made of.

    Args:
        kernel: Name of the kernel, as in a spec.
        release: As uname -r says.
        image: The kernel's image.
        modules: The directory that is /lib/modules there.
        disk: Files that the disk has from the start; a directory.
        arguments: Words for the kernel's command line.
    """

    kernel: str
    release: str
    image: Path
    modules: Path
    disk: Path
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What the machine is for.

    Args:
        name: Of the lab.
        folder: Where the machine's own files are kept.
        groups: Control groups that all its processes are in; whoever takes the lab down ends what is in there.
        state: The directory that labs inside have for their state; not this machine's.
        run: A directory that the guest may write to; others see what it writes at once. None: nothing is kept.
        paths: What programs there need of this machine.
        nodes: How many nodes it shall carry.
        steady: Emulated, it has a clock that waits for its processor; see `qemu.Hardware`.
    """

    name: str
    folder: Path
    groups: tuple[Path, ...]
    state: Path
    run: Path | None
    paths: tuple[Path, ...]
    nodes: int
    steady: bool = False

    @property
    def shares(self) -> dict[str, Path]:
        """What the guest may write to, by tag."""
        return {initramfs.RUN_TAG: self.run} if self.run else {}


def find(folder: Path) -> VmState | None:
    """The machine that has its files in a folder; None when there is none."""
    try:
        return VmState.model_validate_json((folder / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def door(state: VmState) -> Door:
    """The way in."""
    return Door(state.agent_port, state.token, SLOWER.get(state.accelerator, 1.0))


def require_short(folder: Path) -> None:
    """See to it that qemu and virtiofsd can meet.

    Args:
        folder: Where the machine's files would be.

    Raises:
        PreflightError: The paths of their sockets would be too long.
    """
    files = qemu.Files(folder)
    longest = max(len(os.fsencode(files.socket(tag))) for tag in (initramfs.ROOT_TAG, initramfs.RUN_TAG))
    if longest > LONGEST_SOCKET:
        msg = "the paths of the virtual machine's sockets are too long"
        cause = f"{longest} bytes; the path of a Unix socket may have at most {LONGEST_SOCKET} (unix(7))"
        step = f"set a state directory that is {longest - LONGEST_SOCKET} bytes shorter with --state"
        raise PreflightError(msg, cause=cause, where=str(folder), next_step=step)


def virtiofsd() -> str | None:
    """Path of virtiofsd, which distributions keep in different places."""
    return shutil.which("virtiofsd") or next((path for path in VIRTIOFSD if Path(path).exists()), None)


def require_programs() -> tuple[str, str]:
    """Paths of qemu and virtiofsd.

    Raises:
        PreflightError: One is not there.
    """
    emulator = f"qemu-system-{os.uname().machine}"
    found = shutil.which(emulator)
    daemon = virtiofsd()
    missing = [name for name, path in ((emulator, found), ("virtiofsd", daemon)) if path is None]
    if found is None or daemon is None:
        msg = "another kernel needs a virtual machine, but this machine lacks programs for it"
        raise PreflightError(
            msg,
            cause=f"missing: {', '.join(missing)}",
            next_step="apt-get install --no-install-recommends qemu-system-x86 (and virtiofsd, from Debian 13 on)",
        )
    return found, daemon


def start(materials: MachineMaterials, wanted: Wanted) -> tuple[VmState, int]:
    """Start a machine, on the processor if that works, else in software.

    Returns:
        Its state, and qemu's PID.

    Raises:
        BringUpError: It did not come up; says what its kernel said last.
    """
    files = qemu.Files(wanted.folder)
    files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_disk(files, materials.disk)
    kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
    accelerators: tuple[qemu.Accelerator, ...] = ("kvm", "tcg") if kvm else ("tcg",)
    for accelerator in accelerators:
        memory = max(4096, 2048 + 768 * wanted.nodes)
        steady = wanted.steady and accelerator == "tcg"
        hardware = qemu.Hardware(1 if steady else 2, memory, accelerator, steady)
        process, state = _launch(materials, wanted, hardware)
        if _says(files, process, STARTED, FIRST_SIGN if accelerator == "kvm" else BOOT):
            break
        stop(process)
    if not _says(files, process, READY, BOOT):
        raise _dead(files, process)

    def answers() -> bool:
        if process.poll() is not None:
            raise _dead(files, process)
        door(state).greet()
        return True

    timeouts.wait_until("the virtual machine to answer", answers, BOOT)
    return state, process.pid


def _dead(files: qemu.Files, process: subprocess.Popen[bytes]) -> BringUpError:
    """The error of a machine that ended while it started, or did not start in time."""
    msg = "the virtual machine did not come up"
    code = process.poll()
    why = f"waited {timeouts.scaled(BOOT):.0f} s" if code is None else f"its emulator ended with exit status {code}"
    return BringUpError(msg, cause=f"{why}\n{_last_words(files)}", log=str(files.console))


def _make_disk(files: qemu.Files, content: Path) -> None:
    with files.disk.open("wb") as disk:
        disk.truncate(DISK)
    options = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    words = ["mkfs.ext4", "-q", "-E", options, "-O", "^has_journal", "-d", str(content), str(files.disk)]
    HostRunner().run(words, timeout=timeouts.DOWNLOAD)


def _launch(
    materials: MachineMaterials, wanted: Wanted, hardware: qemu.Hardware
) -> tuple[subprocess.Popen[bytes], VmState]:
    files = qemu.Files(wanted.folder)
    emulator, daemon = require_programs()
    state = VmState(
        kernel=materials.kernel,
        release=materials.release,
        accelerator=hardware.accelerator,
        agent_port=_free_port(),
        api_port=_free_port(),
        token=secrets.token_hex(32),
    )
    files.initramfs.write_bytes(_initramfs(materials, wanted, state))
    files.initramfs.chmod(0o600)
    files.console.write_bytes(b"")
    (files.folder / "state.json").write_text(state.model_dump_json(indent=1), encoding="utf-8")
    (files.folder / "state.json").chmod(0o600)
    tags = (initramfs.ROOT_TAG, *wanted.shares)
    for tag in tags:
        _share(daemon, files, tag, wanted)
    ports = {state.agent_port: qemu.AGENT_PORT, state.api_port: API_PORT}
    argv = qemu.command(emulator, files, hardware, qemu.Boot(materials.image, materials.arguments), tags, ports)
    return _start(wanted, files, argv), state


def _share(daemon: str, files: qemu.Files, tag: str, wanted: Wanted) -> None:
    socket_path = files.socket(tag)
    socket_path.unlink(missing_ok=True)
    words = qemu.shared if "qemu" in daemon else qemu.shared_rust
    files.view.mkdir(exist_ok=True)
    shared = wanted.shares.get(tag)
    mounts = [] if shared else mount_points(wanted.paths)
    argv = words(daemon, socket_path, shared or files.view, writable=shared is not None)
    argv = [*apart.words(), "sh", "-c", _APART, "sh", str(files.view), *mounts, "--", *argv]
    process = _start(wanted, files, argv)
    for _ in timeouts.ticks(timeouts.PROCESS_EXIT):
        if socket_path.exists():
            with contextlib.suppress(OSError):  # others' files may be in it
                _PID_FILES.rmdir()
            return
        if process.poll() is not None:
            break
    msg = "virtiofsd did not start"
    raise BringUpError(msg, cause=_tail(files.errors), log=str(files.errors))


def mount_points(paths: Iterable[Path]) -> list[str]:
    """The root, and mount points that paths are below, the outer ones first."""
    found = {"/"}
    for path in paths:
        place = path.resolve()
        while not place.exists() or not os.path.ismount(place):
            place = place.parent
        found.add(str(place))
    return sorted(found)


def _start(wanted: Wanted, files: qemu.Files, argv: list[str]) -> subprocess.Popen[bytes]:
    groups = [str(group) for group in wanted.groups]
    with files.errors.open("ab") as errors:
        return HostRunner().start(["sh", "-c", _JOIN, "sh", *groups, "--", *argv], stdout=errors, stderr=errors)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _initramfs(materials: MachineMaterials, wanted: Wanted, state: VmState) -> bytes:
    busybox = shutil.which("busybox")
    if busybox is None:
        msg = "busybox is missing on this machine"
        raise PreflightError(msg, next_step="apt-get install busybox-static")
    folder = materials.modules / materials.release
    order = initramfs.load_order((folder / "modules.dep").read_text(encoding="utf-8"), initramfs.MODULES)
    modules = {Path(path).name: (folder / path).read_bytes() for path in order}
    disk = "/run/cnilab-disk"
    config = {
        "hostname": f"kernel-{wanted.name}"[:63],
        "address": qemu.ADDRESS,
        "agent_port": qemu.AGENT_PORT,
        "api_port": API_PORT,
        "token": state.token,
        "shares": {tag: str(path) for tag, path in wanted.shares.items()},
        "binds": {
            str(materials.modules): "/lib/modules",
            f"{disk}/state": str(wanted.state),
        },
    }
    start_words = (sys.executable, "-I", "-S", guest.__file__, initramfs.CONFIG)
    return initramfs.archive(Path(busybox).read_bytes(), modules, start_words, json.dumps(config))


def _says(files: qemu.Files, process: subprocess.Popen[bytes], what: str, deadline: float) -> bool:
    for _ in timeouts.ticks(deadline):
        if what in files.console.read_text(encoding="utf-8", errors="replace"):
            return True
        if process.poll() is not None:
            return False
    return False


def _last_words(files: qemu.Files) -> str:
    return _tail(files.console) or _tail(files.errors) or "its kernel printed nothing"


def _tail(path: Path, lines: int = 8) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    printable = ("".join(char for char in line if char.isprintable()) for line in text.splitlines())
    return "\n".join([line for line in printable if line.strip()][-lines:])
