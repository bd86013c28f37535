"""As a program: make a directory that is a mount point the root of this mount namespace, and run a program there.

chroot(2) alone changes the root of a process. Who enters its mount namespace later, as `docker exec` enters that of a
container, gets the namespace's own root: that must be the same one.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Sequence

_CLONE_NEWNS = 0x00020000
_MNT_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
"""Number of the system call; the C library has no function for it (pivot_root(2))."""


def main(argv: Sequence[str]) -> None:
    """The directory, and the program with its arguments."""
    place, *words = argv
    libc = ctypes.CDLL(None, use_errno=True)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    # Into the namespace that this process is in: its root directory becomes the namespace's (setns(2)).
    _check(libc.setns(namespace, _CLONE_NEWNS), "setns")
    os.fchdir(root)
    os.chdir(place.lstrip("/"))
    _check(libc.syscall(_PIVOT_ROOT[platform.machine()], b".", b"."), "pivot_root")
    _check(libc.umount2(b".", _MNT_DETACH), "umount of the old root")
    os.chroot(".")
    os.chdir("/")
    os.execvp(words[0], words)  # noqa: S606 - a vector; no shell reads it


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main(sys.argv[1:])
