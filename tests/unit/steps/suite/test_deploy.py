"""What the suite knows of a node: whose neighbour table it has, and whether it can capture packets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.runner import CommandError, HostRunner
from harness.steps.lifecycle.around import captures
from harness.steps.suite import deploy


class Machine:
    """A node; its kernel shows the limit, or does not."""

    def __init__(self, text: str = "") -> None:
        self.text = text

    def file(self, path: str) -> str:
        if not self.text:
            msg = f"cat failed: {path}"
            raise CommandError(msg)
        return self.text


def limits(machine: Any) -> dict[str, int | bool]:
    return deploy.kernel_limits(machine)


def test_a_node_with_a_kernel_of_its_own_has_its_own_table() -> None:
    assert limits(Machine("512\n")) == {"gc_thresh2": 512, "gc_thresh2_ipv6": 512, "shared": False}


def test_nodes_in_namespaces_share_the_table_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "sys/net/ipv4/neigh/default/gc_thresh2"
    here.parent.mkdir(parents=True)
    here.write_text("1024\n")
    monkeypatch.setattr(deploy, "PROC", tmp_path)
    assert limits(Machine()) == {"gc_thresh2": 1024, "shared": True}, "a machine without IPv6"
    there = tmp_path / "sys/net/ipv6/neigh/default/gc_thresh2"
    there.parent.mkdir(parents=True)
    there.write_text("2048\n")
    assert limits(Machine()) == {"gc_thresh2": 1024, "gc_thresh2_ipv6": 2048, "shared": True}
    here.unlink()
    there.unlink()
    assert limits(Machine()) == {}, "nobody can read it: the check does not apply"


@pytest.mark.parametrize(("program", "can"), [("exit 0", True), ("exit 1", False), ("", False)])
def test_packets_are_captured_where_the_node_has_a_tcpdump(
    program: str, can: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if program:
        (tmp_path / "tcpdump").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "tcpdump").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere" if not program else f"{tmp_path}:/bin")
    node: Any = type("Node", (), {"runner": HostRunner()})()
    assert captures(node) is can
