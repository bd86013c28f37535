from __future__ import annotations

import json
from typing import Any

import pytest

from harness.probes import facts, kernel_state, sandboxes
from harness.probes.agent import NODE_BINARY
from tests.unit.probes import fake
from tests.unit.probes.test_sandboxes import sandbox

NETSTAT = "TcpExt: ListenDrops SyncookiesSent\nTcpExt: 3 0\n"
SNMP = "Udp: InDatagrams InCsumErrors\nUdp: 10 2\n"
CONNTRACK = (
    "entries  clashres insert_failed drop\n0000000a 00000000 00000001 00000000\n0000000a 00000000 0000001f 00000002\n"
)


def machine(argv: tuple[str, ...], plan: str) -> str:
    """A node with one pod, as `responder` on it would answer."""
    if argv == (NODE_BINARY, "sandboxes"):
        return json.dumps([sandbox("a"), sandbox("h1", host_network=True)])
    lines: list[dict[str, Any]] = []
    for command in json.loads(plan)["commands"]:
        line: dict[str, Any] = {"id": command["id"], "status": 0}
        argument = " ".join(command.get("argv", ()))
        if argument == "ip -d -j address":
            line["stdout"] = json.dumps([{"ifname": "eth0", "in": command["netns"]}, {}])
        elif argument.startswith("ip -d -j route"):
            line["stdout"] = json.dumps([{"dst": "default", "dev": "eth0"}, {"dst": "10.0.0.1", "table": "local"}])
        elif argument == "iptables-save -c":
            line |= {"status": 1, "stderr": "iptables-save: no such table\n"}
        elif argument.startswith("readlink"):
            line["stdout"] = "net:[4026531840]\n"
        elif command.get("files") == ["/proc/11/root/etc/resolv.conf"]:
            line["files"] = {"/proc/11/root/etc/resolv.conf": "nameserver 10.96.0.10\n"}
        lines.append(line)
    return "\n".join(map(json.dumps, lines))


def dumps(**options: Any) -> dict[tuple[str, str, str], Any]:
    lab = fake.FakeLab((fake.node("n1", "172.18.0.11", machine),), router=fake.node("router", "172.18.0.1", machine))
    found = kernel_state.dump(lab, sandboxes.take(lab), **options)
    assert isinstance(lab.nodes[0].runner, fake.FakeRunner)
    assert lab.nodes[0].runner.calls[1:] == [(NODE_BINARY, "batch")]
    return {(one.vantage, one.place, one.what): one.data for one in found}


def test_a_node_and_its_pods_are_read_with_one_program_run() -> None:
    found = dumps()
    assert {what for vantage, _, what in found if vantage == "node"} == set(kernel_state.NODE_FACTS)
    assert {what for vantage, place, what in found if (vantage, place) == ("pod", "a")} == set(kernel_state.POD_FACTS)
    assert {what for vantage, place, what in found if place == "h1"} == {"resolv-conf"}
    assert {what for vantage, _, what in found if vantage == "router"} == set(kernel_state.OUTSIDE_FACTS)


def test_each_command_runs_in_the_network_namespace_of_its_place() -> None:
    found = dumps()
    assert found["node", "n1", "addr"] == [{"ifname": "eth0", "in": ""}]
    assert found["pod", "a", "addr"] == [{"ifname": "eth0", "in": "/proc/10/ns/net"}]
    assert found["pod", "a", "resolv-conf"] == "nameserver 10.96.0.10\n"
    assert found["node", "n1", "netns"] == 4026531840


def test_routes_leave_out_the_table_that_the_kernel_fills() -> None:
    assert dumps()["node", "n1", "route"] == [{"dst": "default", "dev": "eth0"}]


def test_a_failed_command_is_an_error_and_not_an_empty_list() -> None:
    found = dumps()
    assert found["node", "n1", "rules-iptables"] == {"error": "iptables-save: no such table"}
    assert "error" in found["node", "n1", "rules-nft"]


def test_a_dump_can_be_narrowed() -> None:
    assert set(dumps(only=("fdb",), pods=False)) == {("node", "n1", "fdb")}
    assert {place for vantage, place, _ in dumps(namespace="other") if vantage == "pod"} == set()


def test_a_node_that_does_not_answer_gives_errors_for_all_that_was_asked() -> None:
    def broken(argv: tuple[str, ...], plan: str) -> str | int:
        return machine(argv, plan) if argv[1] == "sandboxes" else 255

    lab = fake.FakeLab((fake.node("n1", "172.18.0.11", broken),))
    found = kernel_state.dump(lab, sandboxes.take(lab), only=("addr",))
    assert [one.data.keys() for one in found] == [{"error"}, {"error"}]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward"),
        ("/proc/sys/net/ipv4/conf/flannel.1/rp_filter", "net.ipv4.conf.flannel/1.rp_filter"),
    ],
)
def test_sysctls_have_the_names_of_sysctl(path: str, key: str) -> None:
    assert facts.sysctl_key(path) == key


def test_counters_of_all_processors_are_summed_but_the_size_of_the_table() -> None:
    files = {"/p/net/snmp": SNMP, "/p/net/netstat": NETSTAT, "/p/net/stat/nf_conntrack": CONNTRACK}
    assert facts.data_of(facts.FACTS["counters"], {"files": files}) == {
        "Udp.InDatagrams": 10,
        "Udp.InCsumErrors": 2,
        "TcpExt.ListenDrops": 3,
        "TcpExt.SyncookiesSent": 0,
        "conntrack.entries": 10,
        "conntrack.clashres": 0,
        "conntrack.insert_failed": 32,
        "conntrack.drop": 2,
    }


def test_counters_of_ipv6_have_their_groups_as_those_of_ipv4() -> None:
    text = "Ip6InReceives                   \t7\nUdp6InDatagrams\t3\nUdpLite6OutDatagrams\t0\nIcmp6OutType143\t5\n"
    assert facts.data_of(facts.FACTS["counters"], {"files": {"/p/net/snmp6": text}}) == {
        "Ip6.InReceives": 7,
        "Udp6.InDatagrams": 3,
        "UdpLite6.OutDatagrams": 0,
        "Icmp6.OutType143": 5,
    }


def test_empty_output_of_iproute2_is_an_empty_list() -> None:
    assert facts.data_of(facts.FACTS["fdb"], {"stdout": ""}) == []
    assert "unreadable" in facts.data_of(facts.FACTS["fdb"], {"stdout": "Error: ?"})["error"]
