"""Mount namespaces of their own, where the root directory is a mount point and where it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import apart

PLAIN_CHROOT = """\
40 39 0:21 / /proc rw,relatime - proc proc rw
41 39 0:22 / /sys rw,relatime - sysfs sysfs rw
"""
MACHINE = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n" + PLAIN_CHROOT


def test_a_root_that_is_a_mount_point_is_left_to_unshare() -> None:
    assert apart.words("--net", mountinfo=MACHINE) == ("unshare", "--net", "--mount", "--")


def test_nothing_is_guessed_where_mounts_are_not_known() -> None:
    assert apart.root_is_mounted("")


def test_a_plain_chroot_makes_its_mounts_private_by_another_way() -> None:
    words = apart.words("--net", mountinfo=PLAIN_CHROOT)
    assert words[:6] == ("unshare", "--net", "--mount", "--propagation", "unchanged", "--")
    assert words[6:] == (sys.executable, "-P", apart.__file__)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="mount namespaces need root")
def test_the_program_comes_back_to_its_root_and_its_directory_and_its_mounts_are_private(tmp_path: Path) -> None:
    inside = apart.words(mountinfo=PLAIN_CHROOT)
    script = "pwd; grep -c -e shared: -e master: /proc/self/mountinfo; mount -t tmpfs tmpfs . && touch $PWD/here"
    # Shared, so that there is something to be made private; where / is no mount point, it cannot be made shared.
    before = "shared" if apart.root_is_mounted(Path("/proc/self/mountinfo").read_text()) else "unchanged"
    words = ["unshare", "--mount", "--propagation", before, "--", *inside, "sh", "-c", script]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path), "0"]
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")
def test_a_program_that_does_not_exist_is_an_error_of_its_own() -> None:
    done = subprocess.run(
        [*apart.words(mountinfo=PLAIN_CHROOT), "/no/such"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "No such file" in done.stderr
