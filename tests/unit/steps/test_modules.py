from __future__ import annotations

from pathlib import Path

import pytest

from harness.runner import Completed, HostRunner
from harness.steps import up_namespaces


class Recorded(HostRunner):
    """Remembers what it is asked to run."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []

    def run(self, argv, **_):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN201
        self.asked.append([str(word) for word in argv])
        return Completed(tuple(self.asked[-1]), 1, "", "not found")


def test_a_kernel_with_modules_gets_the_bridges_filter_before_a_node_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it flannel ends: "Failed to check br_netfilter"; and a failure to load it is not this function's."""
    monkeypatch.setattr(up_namespaces, "BRIDGE_FILTER", tmp_path / "bridge-nf-call-iptables")
    monkeypatch.setattr("shutil.which", lambda name: f"/sbin/{name}")
    runner = Recorded()
    up_namespaces.load_modules(runner)
    assert runner.asked == [["modprobe", "br_netfilter"]]
    (tmp_path / "bridge-nf-call-iptables").touch()
    up_namespaces.load_modules(runner)
    assert len(runner.asked) == 1
