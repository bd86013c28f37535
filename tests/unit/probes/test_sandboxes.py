from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest

from harness.errors import BringUpError
from harness.probes import sandboxes
from harness.probes.agent import CONTAINER_BINARY, NODE_BINARY
from tests.unit.probes import fake


def sandbox(pod: str, **fields: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "id": f"s-{pod}", "pod": pod, "namespace": "default", "uid": "u", "pid": 10, "netns": "/proc/10/ns/net",
        "inode": 4026532000, "host_network": False, "ip": "10.244.1.2", "host_veth": "veth1",
        "interfaces": [{"name": "eth0", "index": 2, "peer_index": 7, "kind": "veth", "mtu": 1450, "state": "UP",
                        "mac": "02:00:00:00:00:01", "addresses": ["10.244.1.2/24"]}],
        "containers": [{"id": "c", "name": "main", "pid": 11, "image": "i"},
                       {"id": "d", "name": "side", "pid": 12, "image": "i"}],
    }  # fmt: skip
    return {**base, **fields}


def lab(*per_node: list[dict[str, Any]]) -> fake.FakeLab:
    def said(rows: list[dict[str, Any]]) -> fake.Answer:
        return lambda _argv, _input: json.dumps(rows)

    return fake.FakeLab(
        tuple(fake.node(f"n{i}", f"172.18.0.{10 + i}", said(rows)) for i, rows in enumerate(per_node, 1))
    )


def test_all_nodes_are_asked_once_and_sandboxes_know_their_node() -> None:
    where = lab([sandbox("b"), sandbox("a")], [sandbox("c")])
    found = sandboxes.take(where)
    assert [(one.node, one.pod) for one in found.sandboxes] == [("n1", "a"), ("n1", "b"), ("n2", "c")]
    for node in where.nodes:
        assert isinstance(node.runner, fake.FakeRunner)
        assert node.runner.calls == [(NODE_BINARY, "sandboxes")]


def test_a_host_network_pod_has_its_nodes_address() -> None:
    found = sandboxes.take(lab([sandbox("h1", host_network=True, ip="")]))
    assert found.find("default", "h1").ip == "172.18.0.11"
    assert [one.pod for one in found.select(host_network=True)] == ["h1"]
    assert found.select(host_network=False) == []


@pytest.mark.parametrize("primary", ["172.18.0.11", "fd00:172:18::11"])
def test_a_pod_has_the_address_of_the_primary_family_first(primary: str) -> None:
    both = ("10.244.1.2", "fd00:10:244:1::2")
    row = sandbox("a", ips=both)
    node = fake.FakeNode("n1", ip_address(primary), fake.FakeRunner(lambda _argv, _input: json.dumps([row])))
    found = sandboxes.take(fake.FakeLab((node,)))
    pod = found.find("default", "a")
    assert pod.ips == (both if "." in primary else both[::-1])
    assert pod.ip == pod.ips[0]
    site = found.site(pod)
    for one in (pod, site):
        assert (one.address("ipv4"), one.address("ipv6")) == both
    assert site.target(family="ipv6").dial == "[fd00:10:244:1::2]:8080"


def test_a_pod_without_an_address_of_a_family_has_none() -> None:
    pod = sandboxes.take(lab([sandbox("a")])).find("default", "a")
    assert (pod.ip, pod.address("ipv4"), pod.address("ipv6")) == ("10.244.1.2", "10.244.1.2", "")


def test_of_two_sandboxes_of_a_pod_the_newer_process_counts() -> None:
    found = sandboxes.take(lab([sandbox("a", pid=10), sandbox("a", pid=99)]))
    assert found.find("default", "a").pid == 99


def test_probes_run_in_the_container_so_that_the_pods_own_resolver_counts() -> None:
    where = lab([sandbox("a")])
    found = sandboxes.take(where)
    site = found.site(found.find("default", "a"), container="side")
    assert (site.name, site.node, site.ip, site.binary) == ("a", "n1", "10.244.1.2", CONTAINER_BINARY)
    assert where.nodes[0].entered == ["12"]


def test_a_pod_without_our_program_is_entered_by_its_network_alone() -> None:
    where = lab([sandbox("a", containers=[])])
    found = sandboxes.take(where)
    assert found.site(found.find("default", "a"), toolbox=False).binary == NODE_BINARY
    assert where.nodes[0].entered == ["/proc/10/ns/net"]


def test_what_is_not_there_is_named() -> None:
    found = sandboxes.take(lab([sandbox("a")]))
    with pytest.raises(BringUpError, match="default/z"):
        found.find("default", "z")
    with pytest.raises(BringUpError, match="n9"):
        found.node("n9")
    with pytest.raises(BringUpError, match="nothere"):
        found.container_runner(found.find("default", "a"), "nothere")


def test_the_inventory_is_kept_with_the_observations() -> None:
    (one,) = sandboxes.take(lab([sandbox("a")])).dumps("B0")
    assert (one.vantage, one.place, one.what) == ("node", "n1", "sandboxes")
    assert one.data[0]["interfaces"][0]["addresses"] == ["10.244.1.2/24"]
