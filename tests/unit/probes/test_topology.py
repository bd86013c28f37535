from __future__ import annotations

from typing import Any

from harness.model.records import Dump
from harness.model.spec import LabSpec
from harness.probes import topology
from tests.unit.probes.test_sandboxes import sandbox

SPEC = LabSpec(nodes=2)


def link(name: str, kind: str = "", mtu: int = 1500, address: str = "", **more: Any) -> dict[str, Any]:
    local, _, length = address.partition("/")
    info = {"family": "inet", "local": local, "prefixlen": int(length or 0), "scope": "global"}
    row: dict[str, Any] = {"ifname": name, "mtu": mtu, "operstate": "UP", "address": "02:00:00:00:00:05"}
    return row | ({"linkinfo": {"info_kind": kind}} if kind else {}) | {"addr_info": [info] if address else []} | more


FLANNEL = link("flannel.1", "vxlan", 1450, "10.244.1.0/32") | {
    "linkinfo": {"info_kind": "vxlan", "info_data": {"id": 1, "local": "172.18.0.11", "port": 8472}}
}


def at(place: str, what: str, data: Any, vantage: Any = "node", namespace: str = "") -> Dump:
    return Dump(batch="B0", vantage=vantage, place=place, node="n1", what=what, data=data, namespace=namespace)


def lab() -> list[Dump]:
    return [
        at("n1", "addr", [
            {"ifname": "lo", "mtu": 65536, "link_type": "loopback", "address": "00:00:00:00:00:00", "addr_info": []},
            link("eth0", "veth", address="172.18.0.11/16"), FLANNEL,
            link("cni0", "bridge", 1450, "10.244.1.1/24"), link("veth1", "veth", 1450, master="cni0"),
        ]),
        at("n1", "route", [
            {"dst": "default", "gateway": "172.18.0.1", "dev": "eth0", "flags": []},
            {"dst": "10.244.2.0/24", "gateway": "10.244.2.0", "dev": "flannel.1", "flags": ["onlink"]},
            {"dst": "10.244.1.0/24", "dev": "cni0", "protocol": "kernel", "scope": "link", "prefsrc": "10.244.1.1",
             "flags": []},
            {"type": "multicast", "dst": "ff00::/8", "dev": "eth0", "flags": []},
            {"dst": "fe80::/64", "dev": "eth0", "protocol": "kernel", "flags": []},
        ]),
        at("n1", "fdb", [
            {"mac": "02:00:00:00:00:02", "ifname": "flannel.1", "dst": "172.18.0.12", "flags": ["self"]},
            {"mac": "33:33:00:00:00:01", "ifname": "eth0", "flags": ["self"]},
        ]),
        at("n1", "sandboxes", [sandbox("a"), sandbox("h1", host_network=True, ip="172.18.0.11", host_veth="")]),
        at("a", "addr", [link("eth0", "veth", 1450, "10.244.1.2/24")], "pod", "default"),
        at("a", "route", [{"dst": "default", "gateway": "10.244.1.1", "dev": "eth0", "flags": []}], "pod", "default"),
        at("router", "addr", [link("eth0", "veth", address="172.18.0.1/16")], "router"),
    ]  # fmt: skip


def test_a_node_is_drawn_with_its_links_routes_and_pods() -> None:
    (node,) = topology.build(lab(), SPEC).nodes
    assert (node.name, node.address, node.role, node.pod_cidr) == (
        "n1",
        "172.18.0.11",
        "control plane",
        "10.244.1.0/24",
    )
    assert node.routes == (
        "default via 172.18.0.1 dev eth0",
        "10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink",
        "10.244.1.0/24 dev cni0 proto kernel scope link src 10.244.1.1",
    )
    assert node.fdb == ("02:00:00:00:00:02 dev flannel.1 dst 172.18.0.12",)
    links = {one.name: one for one in node.interfaces}
    assert (links["veth1"].peer, links["veth1"].master) == ("a:eth0", "cni0")
    assert (links["flannel.1"].vni, links["flannel.1"].dst_port, links["flannel.1"].local) == (1, 8472, "172.18.0.11")
    assert links["lo"].kind == "loopback"


def test_a_pod_is_drawn_with_the_other_end_of_its_cable() -> None:
    a, h1 = topology.build(lab(), SPEC).nodes[0].pods
    assert (a.name, a.ip, a.interfaces[0].peer, a.interfaces[0].mtu) == ("a", "10.244.1.2", "veth1", 1450)
    assert a.routes == ("default via 10.244.1.1 dev eth0",)
    assert (h1.host_network, h1.interfaces) == (True, ())


def test_a_pod_that_was_not_asked_is_drawn_from_the_runtimes_view() -> None:
    without = [one for one in lab() if one.vantage != "pod"]
    a = topology.build(without, SPEC).nodes[0].pods[0]
    assert [(one.name, one.addresses, one.peer) for one in a.interfaces] == [("eth0", ("10.244.1.2/24",), "veth1")]


def test_the_outside_and_the_kind_of_tunnel_are_told() -> None:
    drawn = topology.build(lab(), SPEC)
    assert [(one.name, one.ip) for one in drawn.outside] == [("router", "172.18.0.1")]
    assert drawn.encapsulation == "VXLAN, UDP 8472, VNI 1"
    assert topology.build([at("n1", "addr", [])], SPEC).encapsulation == "none"


def test_the_api_and_flannel_know_the_pod_range_better_than_the_bridge() -> None:
    known = [*lab(), at("n1", "conf", {"/run/flannel/subnet.env": "FLANNEL_SUBNET=10.244.7.1/24\nFLANNEL_MTU=1450\n"})]
    assert topology.build(known, SPEC).nodes[0].pod_cidr == "10.244.7.0/24"
    nodes = [{"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.9.0/24"}}]
    assert topology.build([*known, at("cluster", "nodes", nodes, "api")], SPEC).nodes[0].pod_cidr == "10.244.9.0/24"


def test_failed_dumps_leave_holes_and_break_nothing() -> None:
    drawn = topology.build(
        [at("n1", what, {"error": "x"}) for what in ("addr", "route", "fdb", "sandboxes", "conf")], SPEC
    )
    assert drawn.nodes[0].interfaces == ()


def test_a_dump_of_the_same_place_taken_later_counts() -> None:
    later = [*lab(), at("n1", "route", [])]
    assert topology.build(later, SPEC).nodes[0].routes == ()
