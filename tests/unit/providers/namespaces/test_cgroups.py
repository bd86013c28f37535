from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from harness.providers.namespaces import cgroups
from harness.providers.namespaces.cgroups import Hierarchy, hierarchies

HYBRID = """\
25 20 0:22 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
27 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
28 25 0:25 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
29 20 0:23 / /elsewhere/memory rw,relatime - cgroup cgroup rw,memory
30 20 0:24 /docker/abc /bound rw,relatime - cgroup cgroup rw,cpu,cpuacct
"""
UNIFIED = "31 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_each_hierarchy_of_a_hybrid_machine_is_found_once_by_its_root() -> None:
    assert hierarchies(HYBRID) == [
        Hierarchy(Path("/sys/fs/cgroup/memory"), unified=False),
        Hierarchy(Path("/sys/fs/cgroup/cpu,cpuacct"), unified=False),
        Hierarchy(Path("/sys/fs/cgroup/unified"), unified=True),
    ]


def test_a_unified_machine_has_one_hierarchy() -> None:
    assert hierarchies(UNIFIED) == [Hierarchy(Path("/sys/fs/cgroup"), unified=True)]


IN_A_CONTAINER = """\
26 25 0:23 /docker/abc /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
27 25 0:24 /docker/other /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
28 25 0:26 /docker/abc /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
29 25 0:25 /docker/abc /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
OWN_GROUPS = (
    "9:memory:/docker/abc\n8:cpu,cpuacct:/docker/abcdef\n1:name=systemd:/docker/abc/init.scope\n0::/docker/abc\n"
)


def test_a_container_that_sees_its_own_part_of_a_hierarchy_has_it() -> None:
    assert hierarchies(IN_A_CONTAINER, OWN_GROUPS) == [
        Hierarchy(Path("/sys/fs/cgroup/memory"), unified=False, root="/docker/abc"),
        Hierarchy(Path("/sys/fs/cgroup/systemd"), unified=False, root="/docker/abc"),
        Hierarchy(Path("/sys/fs/cgroup/unified"), unified=True, root="/docker/abc"),
    ]
    assert hierarchies(IN_A_CONTAINER) == []


@pytest.mark.parametrize(
    ("root", "group", "found"),
    [
        ("/", "/", "/g"),
        ("/", "/cnilab/lab/n1", "/g/cnilab/lab/n1"),
        ("/docker/abc", "/docker/abc", "/g"),
        ("/docker/abc", "/docker/abc/cnilab/lab", "/g/cnilab/lab"),
        ("/docker/abc", "/docker/abcdef", None),
        ("/docker/abc", "/", None),
    ],
)
def test_a_group_is_found_below_what_is_mounted(root: str, group: str, found: str | None) -> None:
    assert Hierarchy(Path("/g"), unified=True, root=root).directory(group) == (Path(found) if found else None)


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([errno.EBUSY, errno.EBUSY, 0], ""),
        ([errno.ENOENT], ""),
        ([errno.EROFS], "Read-only file system"),
        ([errno.EBUSY, errno.EACCES], "Permission denied"),
    ],
)
def test_a_group_is_busy_for_a_moment_and_anything_else_is_said_at_once(
    answers: list[int], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(answers)

    def rmdir(_: Path) -> None:
        if number := left.pop(0):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "rmdir", rmdir)
    assert cgroups._rmdir(Path("/sys/fs/cgroup/x")) == why
    assert not left
