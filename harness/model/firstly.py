"""What a container that is a node runs before its init: the machine's settings stay, its own are what networks need.

A privileged container may write to all of /proc/sys, and what is not below `net` is one for all that share the kernel.
systemd raises `fs.file-max` and `fs.nr_open` as soon as it starts (src/core/main.c, bump_file_max_and_nr_open), and
applies sysctl.d(5); kubelet and agents write what `machine.MACHINE_WIDE` names.

New network namespaces, a node's and its pods', copy what `sysctls.NETWORK` names from the machine.
"""

from __future__ import annotations

import json

from harness.model import sysctls
from harness.model.machine import MACHINE_WIDE

PROGRAM = "/usr/local/bin/cnilab-firstly"
"""Where it is in an image: the first word of the entry point, and the image's own entry point its arguments."""

HOOK = "/kind/bin/mount-product-files.sh"
"""What kind's container runtime runs in the namespaces of each container before its program starts."""

_STAND_INS = "/run/cnilab/sysctls"


def script(program: str = PROGRAM, hook: str = HOOK) -> str:
    """A program that hides the machine's settings, and then becomes what its arguments name.

    All but `net`, which is the node's own, can be read only: systemd, and whatever applies sysctl.d, take that for what
    container engines usually do. kubelet and agents insist, and get a private copy of each setting that they write.

    On a hardened machine it sets the node's own interfaces, and lets the hook call it for those of pods.

    Args:
        program: Where it is.
        hook: See `HOOK`.
    """
    words = " ".join(f"'{word}'" for word in sysctls.words())
    keys = " ".join(key.removeprefix("/proc/sys/") for key in MACHINE_WIDE)
    return f"""\
#!/bin/sh
set -eu
wanted() {{
  for word in {words}; do
    for file in /proc/sys/${{word%=*}}; do
      test ! -e "$file" || test "$(cat "$file")" = "${{word#*=}}" || echo "${{word#*=}} $file"
    done
  done
}}
settle() {{
  wanted | while read -r value file; do echo "$value" >"$file"; done
}}
if test "$1" = --network; then
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  # A pod in its node's network has the node's.
  test "$(readlink /proc/self/ns/net)" = "$(readlink /proc/1/ns/net || :)" || settle
  exit 0
fi
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
if test -n "$(wanted)"; then
  settle
  if test -e {hook} && ! grep -q {program} {hook}; then
    sed -i '1a {program} --network || exit 1' {hook}
  fi
fi
exec "$@"
"""


def entry_point(words: list[str]) -> str:
    """The instruction of a Dockerfile that puts the program before an image's own entry point.

    Args:
        words: That entry point.
    """
    return f"ENTRYPOINT {json.dumps([PROGRAM, *words])}"
