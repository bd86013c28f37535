"""What a spec can ask for, and that it gets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli
from tests.e2e.test_cluster import kubectl


def interface_mtu(cli: Cli, place: str, interface: str) -> int:
    out = cli("exec", place, "--", "ip", "-j", "link", "show", interface).stdout
    return int(json.loads(out)[0]["mtu"])


def test_the_mtu_of_the_wire_reaches_the_tunnel(cli: Cli, untouched: list[str]) -> None:
    cli("up", "flannel", "--name", untouched[0], "--mtu", "1400")
    assert interface_mtu(cli, "n1", "eth0") == 1400
    assert interface_mtu(cli, "n1", "flannel.1") == 1350
    cli("down")


@pytest.mark.parametrize("nodes", [1, 3])
def test_any_number_of_nodes_becomes_ready(nodes: int, cli: Cli, untouched: list[str]) -> None:
    cli("up", "bridge", "--name", untouched[0], "--nodes", str(nodes))
    listed = json.loads(kubectl((cli, untouched[0]), "get", "nodes", "-o", "json"))["items"]
    ready = [
        node["metadata"]["name"]
        for node in listed
        if any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])
    ]
    assert ready == [f"n{number}" for number in range(1, nodes + 1)]
    cli("down")


def test_a_spec_file_decides_addresses_nics_and_proxy_mode(cli: Cli, untouched: list[str], tmp_path: Path) -> None:
    spec = tmp_path / "lab with spaces & quotes'.yaml"
    spec.write_text(
        f"apiVersion: cnilab.dev/v1\nkind: Lab\nmetadata: {{name: {untouched[0]}}}\n"
        "spec:\n  cni: flannel-host-gw\n  kubernetes: {proxyMode: nftables}\n"
        "  pods: {cidr: 10.50.0.0/16}\n  services: {cidr: 10.60.0.0/16}\n"
        "  underlay: {cidr: 192.168.77.0/24, dualHomed: true}\n"
    )
    cli("up", spec)
    assert "192.168.77.11" in cli("exec", "n1", "--", "ip", "-br", "addr", "show", "eth1").stdout
    assert "10.0.2.11" in cli("exec", "n1", "--", "ip", "-br", "addr", "show", "eth0").stdout
    routes = cli("exec", "n1", "--", "ip", "route").stdout
    assert "10.50.1.0/24 via 192.168.77.12 dev eth1" in routes
    tables = cli("exec", "n1", "--", "nft", "list", "tables").stdout
    assert "table ip kube-proxy" in tables
    services = kubectl((cli, untouched[0]), "get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
    assert services == "10.60.0.1"
    cli("exec", "n2", "--", "dig", "+short", "+time=2", "@10.60.0.10", "kubernetes.default.svc.cluster.local")
    # Services by nftables, addresses and routes by the second NIC: exit code 0, so every requirement of these is met.
    judged = cli.data("test", "--select", "nodes, identity, reach, services, egress")["items"]
    assert sum(item["status"] == "pass" for item in judged) >= 40
    cli("down")


def test_two_labs_do_not_meet(cli: Cli, untouched: list[str]) -> None:
    one, two = untouched[:2]
    processes = [cli.start("up", "bridge", "--name", name, "--nodes", "1") for name in (one, two)]
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    assert cli.labs() == {one: "Ready", two: "Ready"}
    cli("exec", "--cluster", one, "n1", "--", "ip", "link", "add", "mark0", "type", "bridge")
    assert "mark0" not in cli("exec", "--cluster", two, "n1", "--", "ip", "-br", "link").stdout
    cli("down", one)
    assert cli.labs() == {two: "Ready"}
    assert kubectl((cli, two), "get", "--raw", "/readyz") == "ok"
    cli("down", two)
