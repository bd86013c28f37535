"""Faults for exercises: they stay until they are cleared, by whatever process, and a cluster takes them with it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from harness import timeouts
from tests.e2e.conftest import Cli

CROSS = "model.pod-pod.cross-node"


def route(cli: Cli, name: str) -> str:
    """The first node's routes to other nodes' pods."""
    return cli("exec", "--cluster", name, "n1", "--", "ip", "route", "show", "root", "10.244.0.0/16").stdout


def record(cli: Cli, name: str) -> Path:
    return cli.state / "labs" / name / "faults.json"


def test_a_fault_stays_until_it_is_cleared(flannel: tuple[Cli, str]) -> None:
    cli, name = flannel
    before = route(cli, name)
    offered = {item["id"]: item["here"] for item in cli.data("fault", "list", "--cluster", name)["items"]}
    assert (offered["F01"], offered["F02"]) == (True, False)
    try:
        cli("fault", "inject", "route-del", "--cluster", name)
        assert record(cli, name).stat().st_mode & 0o777 == 0o600
        assert cli.data("status")["items"][0]["faults"] == {"injected": ["F01"], "secret": 0}
        results = cli.data("test", "--cluster", name, "--select", CROSS, code=1)["items"]
        assert [item["status"] for item in results if item["id"] == CROSS] == ["fail"]
        for refused in (("test", "--faults"), ("apply", "pod-pause")):
            assert "cnilab fault clear" in cli(refused[0], "--cluster", name, *refused[1:], code=4).stderr
    finally:
        cleared = cli.data("fault", "clear", "--cluster", name)["items"]
    assert [(item["fault"], item["left"], item["doubtful"]) for item in cleared] == [("F01", [], [])]
    assert route(cli, name) == before
    assert cli.data("test", "--cluster", name, "--select", CROSS)["items"]
    assert cli.data("fault", "clear", "--cluster", name)["items"] == []


def test_a_secret_is_told_only_by_clearing(flannel: tuple[Cli, str]) -> None:
    cli, name = flannel
    done = cli("fault", "inject", "--cluster", name, "--random", "--seed", "1", "--secret", "-o", "json")
    try:
        assert json.loads(done.stdout)["items"] == [{"secret": True}]
        (known,) = json.loads(record(cli, name).read_text())["injected"]
        listed = cli("fault", "list", "--cluster", name, "-o", "json")
        assert [item["id"] for item in json.loads(listed.stdout)["items"] if item["injected"]] == []
        words = (done.stderr, cli("status", "-o", "json").stdout, listed.stderr)
        assert not any(known["name"] in text or known["title"] in text for text in words)
    finally:
        (cleared,) = cli.data("fault", "clear", "--cluster", name)["items"]
    assert (cleared["fault"], cleared["left"]) == (known["fault"], [])


def test_an_injection_that_was_killed_is_cleared(flannel: tuple[Cli, str]) -> None:
    """Also by whom there was no time to undo anything."""
    cli, name = flannel
    before = route(cli, name)
    process = cli.start("fault", "inject", "F08", "--cluster", name)
    for _ in timeouts.ticks(60, 0.002):
        if record(cli, name).exists() or process.poll() is not None:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (cleared,) = cli.data("fault", "clear", "--cluster", name)["items"]
    assert (cleared["fault"], cleared["left"]) == ("F08", [])
    assert route(cli, name) == before
    assert not record(cli, name).exists()


@pytest.mark.night
def test_down_takes_faults_with_it(cli: Cli, untouched: list[str]) -> None:
    """Nothing of a fault is outside of the cluster, or outlives it: the machine is looked at before and after."""
    name = untouched[0]
    cli("up", "bridge", "--name", name, "--nodes", "1")
    cli("fault", "inject", "conf-truncated", "plugin-missing", "svc-flush", "lo-down")
    cli("down", name)
    assert not record(cli, name).exists()
    cli("up", "bridge", "--name", name, "--nodes", "1")
    assert cli.data("test", "--select", "cni.conf.active")["items"][0]["status"] == "pass"
    cli("down", name)
