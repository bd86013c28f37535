"""Checks that disturb a cluster: all pass on a healthy one, and leave it as it was, also when they are interrupted."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from conformance.registry import AREAS
from harness import timeouts
from tests.e2e.conftest import Cli
from tests.e2e.test_cluster import kubectl

LASTING = (
    # A device that is made anew has another MAC.
    ("sh", "-c", "ip -br link show type vxlan | cut -d ' ' -f 1"),
    ("ip", "route", "show", "root", "10.244.0.0/16"),
    ("ip", "-6", "route", "show", "root", "fd00:10:244::/48"),
    ("sh", "-c", "iptables-save | grep -v '^#' | grep FLANNEL | sed 's/\\[[0-9:]*\\]//'"),
    ("ls", "/etc/cni/net.d", "/opt/cni/bin"),
    ("ip", "netns", "list"),
)
"""What a node has that no pod's name or address is in."""

LEASES = ("sh", "-c", "ls /var/lib/cni/networks/cbr0 | wc -l")
"""Of all nodes together: pods that are created anew may come to another node."""


def lasting(cli: Cli, name: str) -> dict[str, list[str]]:
    """What nodes have of their network, but for the names of pods' links and their addresses."""
    found = {}
    for node in ("n1", "n2"):
        for words in LASTING:
            lines = cli("exec", "--cluster", name, node, "--", *words, code=None).stdout.splitlines()
            found[f"{node} {' '.join(words[:5])}"] = sorted(line for line in lines if not line.startswith("cni-"))
    counts = [int(cli("exec", "--cluster", name, node, "--", *LEASES).stdout) for node in ("n1", "n2")]
    return {**found, "leases": [str(sum(counts))]}


def judged(document: dict[str, Any]) -> dict[str, str]:
    """Status of the requirements that disturb."""
    return {item["id"]: item["status"] for item in document["items"] if item["area"] == "robust"}


@pytest.mark.night
@pytest.mark.timeout(1800, func_only=True)
def test_a_disturbed_cluster_is_as_required_and_then_as_before(cli: Cli, untouched: list[str]) -> None:
    name = untouched[0]
    cli("up", "flannel", "--name", name)
    quiet = cli.data("test", "--cluster", name)
    assert set(judged(quiet).values()) == {"not-applicable"}
    assert all("--disruptive" in item["statement"] for item in quiet["items"] if item["area"] == "robust")
    before = lasting(cli, name)
    document = cli.data("test", "--cluster", name, "--disruptive", timeout=1500)
    assert set(judged(document)) == {check.id for check in AREAS["robust"]}
    assert {item["id"]: item["statement"] for item in document["items"] if item["status"] in {"fail", "error"}} == {}
    assert set(judged(document).values()) == {"pass"}
    assert lasting(cli, name) == before
    again = cli.data("test", "--cluster", name)
    assert [item["id"] for item in again["items"] if item["status"] in {"fail", "error"}] == []
    cli("down", name)


def test_what_was_deleted_is_back_after_an_interrupt(cli: Cli, untouched: list[str]) -> None:
    name = untouched[0]
    cli("up", "flannel", "--name", name)
    # The suite's pods stay, and each has a lease.
    cli("test", "--cluster", name, "--select", "node.routes")
    run = cli.home / ".runs" / "latest" / "events.jsonl"
    before = lasting(cli, name)
    process = cli.start("test", "--cluster", name, "--disruptive", "--select", "node.heal")

    def deletes() -> bool:
        assert process.poll() is None, process.communicate()
        return "test.observe.heal" in run.read_text()

    timeouts.wait_until("routes and rules to be deleted", deletes, 120)
    # Not at once: rules are repaired first, and routes, which nobody promises to repair, are deleted after these.
    show = ("exec", "--cluster", name, "n1", "--", "ip", "route", "show", "root", "10.244.0.0/16")
    timeouts.wait_until("a route to be gone", lambda: "flannel.1" not in cli(*show).stdout, 60)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    # The agent looks after its rules, too: its next look may be a moment away.
    timeouts.wait_until("what was deleted to be back", lambda: lasting(cli, name) == before, 60)
    assert json.loads(kubectl((cli, name), "get", "nodes", "-o", "json"))["items"]
    cli("down", name)
