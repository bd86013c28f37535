"""What nodes that are machines with systemd have in common, against a runner that writes down what it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from harness import machines
from harness.model.node import Node
from harness.runner import Completed


class Fake:
    """A node, and the one who runs its programs."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, ...]] = []

    @property
    def runner(self) -> Fake:
        return self

    def run(self, argv: Sequence[str], *, timeout: float = 0) -> Completed:
        del timeout
        self.ran.append(tuple(argv))
        return Completed(tuple(argv), 0, "said\n", "")

    def file(self, path: str) -> str:
        assert path == "/proc/1/mounts"
        return "bpf /sys/fs/bpf bpf rw 0 0\n"


def test_file_systems_that_agents_want_are_mounted_once() -> None:
    node = Fake()
    machines.mount(cast("Node", node), {"/sys/fs/bpf": "bpf", "/run/group": "cgroup2"})
    assert node.ran == [("mkdir", "-p", "/run/group"), ("mount", "-t", "cgroup2", "cgroup2", "/run/group")]
    node.ran.clear()
    machines.mount(cast("Node", node), {})
    assert node.ran == []


def test_a_journal_is_chosen_by_journalctls_own_words() -> None:
    node = Fake()
    assert machines.journal(cast("Node", node), "--boot", "--priority=warning") == "said\n"
    assert node.ran == [
        ("journalctl", "--no-pager", "--lines=5000", "--output=short-iso", "--boot", "--priority=warning")
    ]


def test_a_services_log_is_kept_where_labs_look_for_it() -> None:
    folder, unit = machines.log_commands("containerd")
    assert folder == ("mkdir", "-p", machines.LOGS)
    assert "--property=StandardOutput=append:/var/log/cnilab/containerd.log" in unit
    assert {"--unit=cnilab-log-containerd", "--unit=containerd"} <= set(unit)
