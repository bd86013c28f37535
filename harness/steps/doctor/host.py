"""What checks may ask of the machine. One class, so that tests can put another machine in its place."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import socket
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness import apart, proc, timeouts
from harness.errors import CnilabError
from harness.runner import Argv, Completed, HostRunner

if TYPE_CHECKING:
    from harness.providers.kind.answers import EngineFacts

PATIENCE = 2 * timeouts.COMMAND
"""Seconds for a probe: a busy machine must not be taken for one that lacks something."""

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

LINKS: dict[str, tuple[str, ...]] = {
    "bridge": ("type", "bridge"),
    "veth": ("type", "veth", "peer", "name", "cl-peer"),
    "vxlan": ("type", "vxlan", "id", "42", "dstport", "8472"),
    "geneve": ("type", "geneve", "id", "42", "remote", "192.0.2.1"),
    "wireguard": ("type", "wireguard"),
    "ipip": ("type", "ipip", "local", "192.0.2.1", "remote", "192.0.2.2"),
    "dummy": ("type", "dummy"),
}
"""Kinds of links that variants use, and what `ip link add NAME` wants to hear of them."""

CALLS: dict[str, tuple[dict[str, int], tuple[int, ...]]] = {
    # KEYCTL_GET_KEYRING_ID of the session's; nothing is made.
    "keyctl": ({"x86_64": 250, "aarch64": 219}, (0, -3, 0)),
    # BPF_PROG_GET_NEXT_ID, with an empty bpf_attr.
    "bpf": ({"x86_64": 321, "aarch64": 280}, (11,)),
}
"""System calls that filters keep from containers: numbers by kind of machine, and arguments that change nothing."""

_BPF_ATTR = 128


class Host:
    """This machine."""

    def uid(self) -> int:
        """Effective user id."""
        return os.geteuid()

    def today(self) -> date:
        """The day by the machine's clock, UTC."""
        return datetime.now(UTC).date()

    def read(self, path: str) -> str:
        """Content of a file, empty when there is none."""
        try:
            return Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def exists(self, path: str) -> bool:
        """There is something at that path."""
        return Path(path).exists()

    def which(self, program: str) -> str | None:
        """Path of a program; a user's PATH often lacks the sbin directories."""
        return shutil.which(program) or shutil.which(program, path=_SYSTEM_PATH)

    def run(self, argv: Argv, *, text: str | None = None, timeout: float = PATIENCE) -> Completed:
        """Run a program; one that is missing or hangs is a failed one, with the reason as its output."""
        words = tuple(os.fspath(word) for word in argv)
        try:
            return HostRunner().run(words, input=text, timeout=timeout, check=False)
        except CnilabError as error:
            return Completed(words, 127, "", error.what)

    def free_bytes(self, path: Path) -> int:
        """Free space of the file system that has, or will have, a directory."""
        while not path.exists() and path != path.parent:
            path = path.parent
        return shutil.disk_usage(path).free

    def memory_available(self) -> int:
        """Bytes that new programs can have."""
        return proc.memory_available(self.read("/proc/meminfo"))

    def capabilities(self) -> int:
        """The effective set, as a bit mask (capabilities(7))."""
        for line in self.read("/proc/self/status").splitlines():
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
        return 0

    def call(self, name: str) -> int:
        """The error number of a system call of `CALLS`, 0 where it succeeded or is not known here (errno(3))."""
        numbers, arguments = CALLS[name]
        number = numbers.get(platform.machine())
        if number is None:
            return 0
        empty = ctypes.create_string_buffer(_BPF_ATTR)
        library = ctypes.CDLL(None, use_errno=True)
        failed = library.syscall(number, *map(ctypes.c_long, arguments), empty, ctypes.c_long(_BPF_ATTR)) < 0
        return ctypes.get_errno() if failed else 0

    def loopback_port(self) -> int:
        """A free TCP port of the loopback, 0 when none can be had."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("127.0.0.1", 0))
            except OSError:
                return 0
            return int(probe.getsockname()[1])

    def port_is_free(self, port: int) -> bool:
        """Whether nobody listens at a TCP port of the loopback."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
            return True

    def unshared(self, argv: Sequence[str], *, text: str | None = None) -> Completed:
        """Run in network and mount namespaces that end with the program: nothing of it is left."""
        return self.run([*apart.words("--net", mountinfo=self.read("/proc/self/mountinfo")), *argv], text=text)

    def docker(self) -> EngineFacts:
        """What the Docker engine says of itself.

        Raises:
            PreflightError: There is none, or it does not let us in.
        """
        from harness.providers.kind.engine import Engine  # noqa: PLC0415 - Docker's SDK takes a quarter of a second

        return Engine().facts()

    def docker_ipv6(self) -> str:
        """Why the Docker engine makes no network with IPv6; empty when it does.

        Raises:
            PreflightError: There is no engine.
        """
        from harness.providers.kind.engine import Engine  # noqa: PLC0415
        from harness.providers.kind.trial import refuses_ipv6  # noqa: PLC0415

        return refuses_ipv6(Engine())

    def node_image(self, version: str) -> str:
        """The image that a lab on kind with that Kubernetes would use; empty when the engine has none."""
        from harness.providers.kind.bring_up import known_image  # noqa: PLC0415
        from harness.providers.kind.engine import Engine  # noqa: PLC0415

        return known_image(Engine(), version)

    @cached_property
    def links(self) -> dict[str, bool]:
        """Which kinds of links this kernel can make, found by making them in a throw-away namespace."""
        names = list(LINKS)
        lines = [f"link add cl-{name} {' '.join(words)}" for name, words in LINKS.items()]
        done = self.unshared(["ip", "-force", "-batch", "-"], text="\n".join(lines) + "\n")
        failed = {line.rpartition(":")[2].strip() for line in done.stderr.splitlines() if "Command failed -:" in line}
        if not done.ok and not failed:
            return dict.fromkeys(names, False)
        return {name: str(number) not in failed for number, name in enumerate(names, 1)}
