"""Which ports of nodes are taken, and which ones are left."""

from __future__ import annotations

from itertools import islice
from typing import Any

from conformance import manifests
from harness.cluster import ports
from harness.model.spec import LabSpec


def pod(declared: list[dict[str, Any]], *, host: bool = False, phase: str = "Running") -> dict[str, Any]:
    containers = [{"name": "main", "ports": declared}]
    return {"spec": {"hostNetwork": host, "containers": containers}, "status": {"phase": phase}}


def test_host_ports_and_ports_of_pods_in_their_nodes_network_are_taken() -> None:
    pods = [
        pod([{"containerPort": 80, "hostPort": 18080}, {"containerPort": 81}]),
        pod([{"containerPort": 9100}], host=True),
        pod([{"containerPort": 1, "hostPort": 20001}], phase="Succeeded"),
        {"spec": {"containers": [{"name": "none"}], "initContainers": [{"ports": [{"hostPort": 7}]}]}},
    ]
    services: list[dict[str, Any]] = [
        {"spec": {"ports": [{"port": 80, "nodePort": 30080}, {"port": 81}], "healthCheckNodePort": 30500}},
        {"spec": {"type": "ExternalName"}},
    ]
    assert ports.taken(pods, services) == {18080, 9100, 7, 30080, 30500}


def test_what_is_free_is_not_taken_and_two_runs_begin_elsewhere() -> None:
    used = set(ports.RANGE) - {20005, 29999}
    assert sorted(ports.free(used, "a")) == [20005, 29999]
    assert list(islice(ports.free((), "a"), 5)) == list(islice(ports.free((), "a"), 5))
    assert list(islice(ports.free((), "a"), 5)) != list(islice(ports.free((), "b"), 5))


def test_ports_on_which_programs_listen_are_read_whatever_the_address_looks_like() -> None:
    text = (
        "udp   UNCONN 0      0            0.0.0.0:8472       0.0.0.0:*\n"
        "tcp   LISTEN 0      4096   [::ffff:127.0.0.1]:10248            *:*\n"
        "tcp   LISTEN 0      4096               *:8080             *:*\n"
        "tcp   LISTEN 0      128     127.0.0.1%lo:53         0.0.0.0:*\n\n"
    )
    assert ports.listening(text) == {8472, 10248, 8080, 53}


def test_pods_of_the_suite_declare_all_ports_that_they_take_of_their_node() -> None:
    spec = LabSpec(nodes=2)
    chosen = {"n1": manifests.Ports(20001, 20002, 20003)}
    made = {item["metadata"]["name"]: ports.of_pod(item) for item in manifests.pods(spec, chosen)}
    assert made == {
        "a": {20001, 20003}, "b": {20001, 20003}, "h1": {20002},
        "c": {18080, 18081}, "d": {18080, 18081}, "h2": {8080},
    }  # fmt: skip


def test_a_port_of_one_address_is_known_from_one_of_all_addresses() -> None:
    made = {item["metadata"]["name"]: item for item in manifests.pods(LabSpec(nodes=1, ip_family="dual"))}
    assert {name: ports.of_one_address(item) for name, item in made.items()} == {
        "a": {18081}, "b": {18081}, "h1": set(),
    }  # fmt: skip


def test_no_two_pods_of_a_node_have_the_same_port_of_the_same_address_and_protocol() -> None:
    """The API knows a container's ports by number and protocol, and a kubelet refuses a pod whose port is taken."""
    taken: list[tuple[str, str, int]] = []
    for item in manifests.pods(LabSpec(nodes=1, ip_family="dual")):
        inside = [port for container in item["spec"]["containers"] for port in container["ports"]]
        keys = [(port["containerPort"], port["protocol"]) for port in inside]
        assert len(keys) == len(set(keys))
        taken += [(port.get("hostIP", "*"), port["protocol"], port["hostPort"]) for port in inside]
    assert len(taken) == len(set(taken))
    everywhere = {(protocol, number) for address, protocol, number in taken if address == "*"}
    assert not everywhere & {(protocol, number) for address, protocol, number in taken if address != "*"}
    assert ("127.0.0.1", "TCP", 18081) in taken
