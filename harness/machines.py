"""What nodes that are machines with systemd have in common, whatever made them: mounts, and the logs of services."""

from __future__ import annotations

from collections.abc import Mapping

from harness import timeouts
from harness.model.node import Node

LOGS = "/var/log/cnilab"
"""Where labs look for the logs of services, on every provider."""

_LINES = 5000


def mount(node: Node, file_systems: Mapping[str, str]) -> None:
    """Mount what agents pin their programs in, and attach them to, unless it is there.

    Args:
        node: Where.
        file_systems: Directory to type.
    """
    mounted = {line.split()[1] for line in node.file("/proc/1/mounts").splitlines()} if file_systems else set()
    for target, kind in file_systems.items():
        if target not in mounted:
            node.runner.run(["mkdir", "-p", target])
            node.runner.run(["mount", "-t", kind, kind, target])


def log_commands(service: str) -> list[tuple[str, ...]]:
    """Keep a service's log as a file too, where labs look for it.

    Args:
        service: Name of a systemd unit.
    """
    follow = ("journalctl", f"--unit={service}", "--follow", "--lines=all", "--output=cat")
    file = f"--property=StandardOutput=append:{LOGS}/{service}.log"
    return [("mkdir", "-p", LOGS), ("systemd-run", "--quiet", f"--unit=cnilab-log-{service}", file, *follow)]


def journal(node: Node, *which: str) -> str:
    """The end of a node's journal.

    Args:
        node: Whose.
        which: Words of journalctl that choose: `--unit=kubelet`.
    """
    words = ("journalctl", "--no-pager", f"--lines={_LINES}", "--output=short-iso", *which)
    return node.runner.run(words, timeout=2 * timeouts.COMMAND).stdout
