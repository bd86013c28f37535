"""What a container that is a node runs before its init: settings of the whole machine stay as they are.

A privileged container may write to all of /proc/sys, and what is not below `net` is one for all that share the kernel.
systemd raises `fs.file-max` and `fs.nr_open` as soon as it starts (src/core/main.c, bump_file_max_and_nr_open), and
applies sysctl.d(5); kubelet and agents write what `machine.MACHINE_WIDE` names.
"""

from __future__ import annotations

import json

from harness.model.machine import MACHINE_WIDE

PROGRAM = "/usr/local/bin/cnilab-firstly"
"""Where it is in an image: the first word of the entry point, and the image's own entry point its arguments."""

_STAND_INS = "/run/cnilab/sysctls"


def script() -> str:
    """A program that hides the machine's settings, and then becomes what its arguments name.

    All but `net`, which is the node's own, can be read only: systemd, and whatever applies sysctl.d, take that for what
    container engines usually do. kubelet and agents insist, and get a private copy of each setting that they write.
    """
    keys = " ".join(key.removeprefix("/proc/sys/") for key in MACHINE_WIDE)
    return f"""\
#!/bin/sh
set -eu
for folder in /proc/sys/*/; do
  folder=${{folder%/}}
  test "$folder" != /proc/sys/net || continue
  mount --bind "$folder" "$folder"
  mount -o remount,bind,ro,nosuid,nodev,noexec "$folder"
done
mkdir -p {_STAND_INS}
for key in {keys}; do
  test -e "/proc/sys/$key" || continue
  copy={_STAND_INS}/$(echo "$key" | tr / .)
  cat "/proc/sys/$key" >"$copy"
  mount --bind "$copy" "/proc/sys/$key"
done
exec "$@"
"""


def entry_point(words: list[str]) -> str:
    """The instruction of a Dockerfile that puts the program before an image's own entry point.

    Args:
        words: That entry point.
    """
    return f"ENTRYPOINT {json.dumps([PROGRAM, *words])}"
