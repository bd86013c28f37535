"""`cnilab why` and the causes of red runs, on a live cluster that is broken on purpose."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator

import pytest

from harness import timeouts
from tests.e2e.conftest import Cli

A, C = "cnilab-probe/a", "cnilab-probe/c"
"""Pods of policies have the same names, in other namespaces."""

ROUTE = "n1/route/10.244.?.0/24"
"""Which node has which share depends on who came first."""


@pytest.fixture(scope="module")
def suite(flannel: tuple[Cli, str]) -> Iterator[tuple[Cli, str]]:
    """A cluster with the suite's pods: a and b on n1, c and d on n2."""
    cli, name = flannel
    cli("test", "--cluster", name, "--select", "model.identity")
    yield cli, name
    cli("fault", "clear", "--cluster", name)


@pytest.mark.parametrize(
    "words",
    [
        (A, C),
        ("n1", C, "tcp/8080"),
        (A, "svc/kubernetes"),
        (A, "svc/cnilab-probe/sole-a"),
        (A, "8.8.8.8"),
        (C, A, "icmp", "--ip-family", "ipv6"),
    ],
)
def test_nothing_is_wrong_with_a_healthy_flow(suite: tuple[Cli, str], words: tuple[str, ...]) -> None:
    cli, name = suite
    said = json.loads(cli("why", *words, "--cluster", name, "-o", "json").stdout)
    assert said["fine"]
    assert said["causes"] == []
    assert said["unknown"] == []
    assert said["arrives"] is not False
    assert {step["direction"] for step in said["items"]} == {"request", "reply"}


@pytest.mark.parametrize(
    ("fault", "words", "key"),
    [
        ("F01", (A, C, "tcp/8080"), ROUTE),
        ("F26", (A, C, "tcp/8080"), "n2/nft/inet kfault/kin/1"),
        ("F43", (A, "8.8.8.8", "tcp/8080"), "n1/masquerade"),
        ("F101", (A, C, "tcp/8080", "--ip-family", "ipv6"), "n1/route/fd00:10:244:*/64"),
        ("F241", (A, C, "tcp/8080"), "n1/nft/inet firewalld/filter_FORWARD/4"),
    ],
)
def test_what_was_broken_is_named(suite: tuple[Cli, str], fault: str, words: tuple[str, ...], key: str) -> None:
    cli, name = suite
    cli("fault", "inject", fault, "--cluster", name)
    try:
        said = json.loads(cli("why", *words, "--cluster", name, "-o", "json", code=1).stdout)
    finally:
        cli("fault", "clear", "--cluster", name)
    assert not said["fine"]
    assert said["causes"]
    first = said["causes"][0]
    assert fnmatch.fnmatchcase(first["key"], key), first
    assert first["confidence"] == "certain"
    assert first["look"]


def test_a_whole_cluster_is_asked_without_a_flow(suite: tuple[Cli, str]) -> None:
    cli, name = suite
    assert "nothing is wrong between " in cli("why", "--cluster", name).stdout
    for fault, key in (("F101", "n1/route/fd00:10:244:*/64"), ("F130", "cnilab-probe/a/iptables/filter/INPUT/*")):
        cli("fault", "inject", fault, "--cluster", name)
        try:
            said = json.loads(cli("why", "--cluster", name, "-o", "json", code=1).stdout)
        finally:
            cli("fault", "clear", "--cluster", name)
        assert fnmatch.fnmatchcase(said["items"][0]["key"], key), said["items"]
        assert len(said["pods"]) >= 2


@pytest.mark.parametrize("words", [(C, "tcp/8080"), ("svc/cnilab-probe/sole-c", "tcp/80"), (C, "icmp")])
def test_packets_of_a_healthy_flow_are_traced_there_and_back(suite: tuple[Cli, str], words: tuple[str, ...]) -> None:
    cli, name = suite
    said = json.loads(cli("why", A, *words, "--trace", "--cluster", name, "-o", "json").stdout)
    assert (said["fine"], said["untraced"]) == (True, {})
    passed = {(one["place"], one["hook"], one["direction"]) for one in said["traced"]}
    assert passed >= {
        (A, "output", "request"),
        ("n1", "forward", "request"),
        ("n2", "forward", "request"),
        (C, "input", "request"),
        (C, "output", "reply"),
        ("n1", "forward", "reply"),
        (A, "input", "reply"),
    }
    assert {one["verdict"] for one in said["traced"]} == {"passed"}
    for place in ("n1", "n2"):
        assert "cnilab-trace" not in cli("exec", "--cluster", name, place, "--", "nft", "list", "tables").stdout


@pytest.mark.parametrize(
    ("fault", "kind", "place", "end"),
    [
        ("F26", "rule.drops", "n2", ("n2", "dropped")),
        ("F241", "rule.rejects", "n1", ("n1", "dropped")),
        ("F01", "route.missing", "n1", None),
    ],
)
def test_what_was_broken_is_seen_where_it_is(
    suite: tuple[Cli, str], fault: str, kind: str, place: str, end: tuple[str, str] | None
) -> None:
    cli, name = suite
    cli("fault", "inject", fault, "--cluster", name)
    try:
        said = json.loads(cli("why", A, C, "tcp/8080", "--trace", "--cluster", name, "-o", "json", code=1).stdout)
    finally:
        cli("fault", "clear", "--cluster", name)
    assert (said["causes"][0]["kind"], said["causes"][0]["place"]) == (kind, place)
    stopped = {(one["place"], one["verdict"]) for one in said["traced"] if one["verdict"] != "passed"}
    assert stopped == ({end} if end else set())


def test_a_trace_goes_with_a_killed_command(suite: tuple[Cli, str]) -> None:
    """The kernel takes the table away with the program that owns it."""
    cli, name = suite
    there = "nft list tables | grep -q cnilab-trace"
    watch = cli.start("exec", "--cluster", name, "n1", "--", "sh", "-c", f"until {there}; do sleep 0.01; done")
    # Nobody answers there, so that it lasts.
    process = cli.start("why", A, "10.244.1.250", "tcp/8080", "--trace", "--cluster", name)
    _, said = watch.communicate(timeout=60)
    assert (watch.returncode, process.poll()) == (0, None), said
    process.kill()
    process.communicate()
    gone = ("exec", "--cluster", name, "n1", "--", "sh", "-c", there)
    timeouts.wait_until("its end", lambda: cli(*gone, code=None).returncode == 1, timeouts.PROCESS_EXIT)


def test_a_pod_that_has_lost_its_address_is_told(suite: tuple[Cli, str]) -> None:
    cli, name = suite
    cli("fault", "inject", "F63", "--cluster", name)
    try:
        done = cli("why", A, C, "tcp/8080", "--ip-family", "ipv6", "--cluster", name, code=1)
    finally:
        cli("fault", "clear", "--cluster", name)
    assert "Cause 1: cnilab-probe/a has IPv6 switched off" in done.stdout


def test_a_red_run_begins_with_its_cause(suite: tuple[Cli, str]) -> None:
    """One line for all that follows from it: on the terminal, in the run, and when it is judged again."""
    cli, name = suite
    cli("fault", "inject", "F01", "--cluster", name)
    try:
        done = cli("test", "--cluster", name, "--select", "model.pod-pod.*,model.node-pod.*,node.routes", code=1)
    finally:
        cli("fault", "clear", "--cluster", name)
    assert "Cause 1: n1 has no route to 10.244." in done.stdout
    judged = json.loads(cli("judge", "--cluster", name, "-o", "json", code=1).stdout)
    causes = judged["causes"]
    assert fnmatch.fnmatchcase(causes[0]["key"], ROUTE)
    failed = {item["id"] for item in judged["items"] if item["status"] == "fail"}
    assert "node.routes" in failed
    assert failed <= set(causes[0]["follows"])
