"""Programs in a mount namespace of their own, whose mounts nobody else sees; also in a chroot.

unshare(1) makes the mounts of the new namespace private from the root directory on, and fails where that is no mount
point: in a plain chroot. Then this module, run as a program, does it from the namespace's own root.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000


def words(*flags: str, mountinfo: str | None = None) -> tuple[str, ...]:
    """What comes before a program, and its `--`.

    Args:
        *flags: Of unshare(1): other namespaces, and what belongs to them.
        mountinfo: Content of /proc/self/mountinfo; this process's by default.
    """
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    if root_is_mounted(mountinfo):
        return ("unshare", *flags, "--mount", "--")
    # -P: a directory of the caller's must not bring modules of its own.
    own = (sys.executable, "-P", str(Path(__file__)))
    return ("unshare", *flags, "--mount", "--propagation", "unchanged", "--", *own)


def root_is_mounted(mountinfo: str) -> bool:
    """Whether the root directory is a mount point; it is none where chroot(2) went into a plain directory.

    Args:
        mountinfo: Content of /proc/self/mountinfo (proc(5)): mounts that can be reached from the root directory.
    """
    return not mountinfo or any(line.split()[4:5] == ["/"] for line in mountinfo.splitlines())


def main(argv: Sequence[str]) -> None:
    """Make all mounts of this process's mount namespace private, come back to the root directory, and run a program.

    Raises:
        OSError: The kernel refuses, or there is no such program.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/", os.O_PATH | os.O_DIRECTORY)
    here = os.open(".", os.O_PATH | os.O_DIRECTORY)
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    # Into the namespace that this process is in: what changes is the root directory, now the namespace's (setns(2)).
    _check(libc.setns(namespace, _CLONE_NEWNS), "setns")
    _check(libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "private mounts")
    os.fchdir(own)
    os.chroot(".")
    os.fchdir(here)
    os.execvp(argv[0], list(argv))  # noqa: S606 - a vector; no shell reads it


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main(sys.argv[1:])
