"""A packet meets the rules of every backend, family and hook on its way, and no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conformance.hooks import NodeRules, Station, arriving, bridged, incompatible, leaving, traverse
from conformance.netfilter import Flow, parse
from conformance.nft import ruleset
from tests.unit.conformance.test_nft_match import table

FLOW = Flow("10.244.0.2", "10.244.1.2")
WAY = (*arriving("cni0", "vetha"), Station("ip", "forward", "cni0", "eth0"), *leaving("eth0"))
DROP = [{"drop": None}]


def nft(family: str, hook: str, devices: tuple[str, ...] = (), **more: Any) -> NodeRules:
    entries = table(DROP, hook=hook)
    for entry in entries:
        for one in entry.values():
            one.update({"family": family, **more})
    return NodeRules(
        ruleset(entries), devices={(family, entries[0]["chain"]["table"], "c"): devices} if devices else {}
    )


def saved(name: str, chain: str, rule: str) -> NodeRules:
    return NodeRules(tables={"iptables": parse(f"*{name}\n:{chain} ACCEPT [0:0]\n-A {chain} {rule}\nCOMMIT\n")})


@pytest.mark.parametrize(
    ("rules", "where"),
    [
        (nft("inet", "prerouting"), "prerouting"),
        (nft("ip", "forward"), "forward"),
        (nft("netdev", "ingress", ("vetha",)), "ingress of vetha"),
        (nft("netdev", "ingress", ("cni0", "x")), "ingress of cni0"),
        (nft("netdev", "egress", ("eth0",)), "egress of eth0"),
        (nft("inet", "ingress", ("cni0",)), "ingress of cni0"),
        (nft("bridge", "input"), "input of bridges"),
        (saved("raw", "PREROUTING", "-j DROP"), "prerouting"),
        (saved("mangle", "POSTROUTING", "-o eth0 -j DROP"), "postrouting"),
        (saved("security", "FORWARD", "-j DROP"), "forward"),
    ],
)
def test_a_rule_on_the_way_is_met(rules: NodeRules, where: str) -> None:
    (met,) = traverse(rules, WAY, FLOW)
    assert (str(met.station), met.end.verdict, met.certain) == (where, "drop", True)


@pytest.mark.parametrize(
    "rules",
    [
        nft("ip6", "forward"),
        nft("inet", "input"),
        nft("netdev", "ingress", ("eth1",)),
        nft("bridge", "forward"),
        nft("ip", "forward", table="filter", name="FORWARD"),
        saved("filter", "INPUT", "-j DROP"),
        saved("mangle", "PREROUTING", "-i eth0 -j DROP"),
        saved("nat", "OUTPUT", "-j DNAT --to-destination 10.0.0.1"),
    ],
)
def test_a_rule_elsewhere_is_not(rules: NodeRules) -> None:
    assert list(traverse(rules, WAY, FLOW)) == []


def test_a_table_that_iptables_cannot_show_is_read_from_nft() -> None:
    text = "# Table `filter' is incompatible, use 'nft' tool.\n"
    rules = replace(nft("ip", "forward", table="filter"), native=incompatible(text))
    (met,) = traverse(rules, WAY, FLOW)
    assert met.end.rule == "table ip filter, chain c, rule 1"


def test_only_the_first_packet_of_a_connection_is_translated() -> None:
    rules = saved("nat", "PREROUTING", "-j DNAT --to-destination 10.0.0.1:80")
    (met,) = traverse(rules, WAY, FLOW)
    assert (met.end.verdict, met.end.to) == ("dnat", "10.0.0.1")
    assert list(traverse(rules, WAY, replace(FLOW, state="ESTABLISHED"))) == []


def test_an_earlier_table_marks_what_a_later_one_drops() -> None:
    text = (
        "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -s 10.244.0.2/32 -j MARK --set-xmark 0x8/0x8\nCOMMIT\n"
        "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m mark --mark 0x8/0x8 -j DROP\nCOMMIT\n"
    )
    rules = NodeRules(tables={"iptables": parse(text)})
    assert [met.end.rule for met in traverse(rules, WAY, FLOW)] == ["iptables, table filter, chain FORWARD, rule 1"]
    assert list(traverse(rules, WAY, replace(FLOW, src="10.244.0.3"))) == []


@pytest.mark.parametrize("target", ["NFQUEUE --queue-num 1", "TPROXY --on-port 1"])
def test_what_a_program_decides_is_met_and_uncertain(target: str) -> None:
    (met,) = traverse(saved("mangle", "PREROUTING", f"-j {target}"), WAY, FLOW)
    assert (met.end.verdict, met.certain) == ("unknown", False)


def test_a_bridge_shows_its_frames_to_hooks_of_packets_only_where_it_is_told_to() -> None:
    rules = saved("filter", "FORWARD", "-j DROP")
    assert list(traverse(rules, bridged("vetha", "vethb", "cni0", seen=True), FLOW))
    assert not list(traverse(rules, bridged("vetha", "vethb", "cni0", seen=False), FLOW))
