"""The kernel's decision about a packet, against a plain reading of rules and tables."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.fib import Packet, best, fib, plain_rules, route_of, samples

PREFIXES = st.builds(
    lambda number, length: ipaddress.ip_network((number << 16, length), strict=False),
    st.integers(min_value=0x0A00, max_value=0x0A07),
    st.integers(min_value=8, max_value=32),
)
TABLES = st.dictionaries(st.sampled_from(["main", "52", "53"]), st.lists(PREFIXES, max_size=5), max_size=3)
ADDRESSES = st.builds(ipaddress.IPv4Address, st.integers(min_value=0x0A000000, max_value=0x0A07FFFF))
OWN = [{"priority": 0, "src": "all", "table": "local"}, {"priority": 32766, "src": "all", "table": "main"}]
LINKS = [{"ifname": "eth0", "group": "default", "addr_info": [{"family": "inet", "local": "172.18.0.11"}]}]
ROUTES = [
    {"dst": "default", "gateway": "172.18.0.1", "dev": "eth0", "table": "main"},
    {"dst": "10.244.1.0/24", "gateway": "10.244.1.0", "dev": "flannel.1", "table": "main"},
    {"dst": "default", "gateway": "172.18.0.9", "dev": "eth0", "table": "52"},
    {"type": "throw", "dst": "10.244.0.0/24", "table": "52"},
    {"dst": "default", "pref": "medium", "dev": "tun6", "table": "52"},
]


def decided(rule: dict[str, Any], *, dst: str = "10.244.1.3", **facts: Any) -> str:
    """Where a packet of a pod goes when one rule is there beside the kernel's own."""
    packet = Packet(ipaddress.ip_address(dst), ipaddress.ip_address("10.244.0.2"), "cni0", **facts)
    return fib([*OWN, {"priority": 9, "src": "all", **rule}], ROUTES, LINKS, "ipv4").decide(packet).outcome


MAIN, TAKEN = "unicast via 10.244.1.0 dev flannel.1", "unicast via 172.18.0.9 dev eth0"


@pytest.mark.parametrize(
    ("rule", "facts", "outcome"),
    [
        ({"table": "52"}, {}, TAKEN),
        ({"table": "52", "suppress_prefixlen": 0}, {}, MAIN),
        ({"table": "52", "suppress_ifgroup": "default"}, {}, MAIN),
        ({"table": "52", "suppress_ifgroup": "7"}, {}, TAKEN),
        ({"table": "99"}, {}, MAIN),
        ({"table": "52", "fwmark": "0x200", "fwmask": "0xf00"}, {}, MAIN),
        ({"table": "52", "fwmark": "0x200", "fwmask": "0xf00"}, {"mark": 0x1234}, TAKEN),
        ({"table": "52", "not": None, "fwmark": "0x80000", "fwmask": "0xff0000"}, {}, TAKEN),
        ({"table": "52", "src": "10.244.0.0", "srclen": 25}, {}, TAKEN),
        ({"table": "52", "src": "10.244.0.3"}, {}, MAIN),
        ({"table": "52", "dst": "10.244.0.0", "dstlen": 16}, {}, TAKEN),
        ({"table": "52", "iif": "lo"}, {}, MAIN),
        ({"table": "52", "iif": "cni0"}, {}, TAKEN),
        ({"table": "52", "oif": "eth0"}, {}, MAIN),
        ({"table": "52", "tos": "0x10"}, {}, MAIN),
        ({"table": "52", "ipproto": "tcp", "dport": 80}, {}, MAIN),
        ({"table": "52", "ipproto": "tcp", "dport": 80}, {"proto": "tcp", "dport": 80}, TAKEN),
        ({"table": "52", "uid_start": 1000, "uid_end": 2000}, {}, MAIN),
        ({"action": "prohibit"}, {}, "prohibit"),
        ({"goto": 32766}, {}, MAIN),
        ({"nop": None}, {}, MAIN),
    ],
)
def test_a_rule_takes_what_its_conditions_say(rule: dict[str, Any], facts: dict[str, Any], outcome: str) -> None:
    assert decided(rule, **facts) == outcome


def test_throw_and_the_local_table_come_as_the_kernel_has_them() -> None:
    assert decided({"table": "52"}, dst="10.244.0.7") == "unicast via 172.18.0.1 dev eth0"
    assert decided({"table": "52"}, dst="172.18.0.11") == "local dev eth0"


def test_a_rule_that_jumps_leaves_out_what_is_between() -> None:
    rules: list[dict[str, Any]] = [
        *OWN,
        {"priority": 5, "src": "all", "goto": 100},
        {"priority": 50, "src": "all", "table": "52"},
        {"priority": 100, "src": "all", "nop": None},
    ]
    packet = Packet(ipaddress.ip_address("10.244.1.3"))
    assert fib(rules, ROUTES, LINKS, "ipv4").decide(packet).outcome == MAIN


def test_a_default_route_says_its_family() -> None:
    assert route_of({"dst": "default", "dev": "tun0"}, "ipv6") is None
    assert str(route_of({"dst": "default", "dev": "tun0", "pref": "medium"}, "ipv6")) == "default dev tun0"


@given(TABLES, ADDRESSES)
def test_the_first_table_with_a_route_decides_by_the_longest_prefix(
    tables: dict[str, list[ipaddress.IPv4Network]], dst: ipaddress.IPv4Address
) -> None:
    rows = [
        {"dst": str(one), "dev": f"d{n}", "table": name} for name, all_ in tables.items() for n, one in enumerate(all_)
    ]
    rules = [*OWN, {"priority": 7, "src": "all", "table": "52"}, {"priority": 8, "src": "all", "table": "53"}]
    decision = fib(rules, rows, (), "ipv4").decide(Packet(dst))
    lengths = {name: [one.prefixlen for one in tables.get(name, []) if dst in one] for name in ("52", "53", "main")}
    first = next((name for name, found in lengths.items() if found), None)
    if first is None:
        assert decision.route is None
    else:
        assert decision.rule is not None
        assert decision.route is not None
        assert (decision.rule.table, decision.route.network.prefixlen) == (first, max(lengths[first]))


@given(TABLES, ADDRESSES)
def test_the_rules_of_a_kernel_alone_are_the_main_table(
    tables: dict[str, list[ipaddress.IPv4Network]], dst: ipaddress.IPv4Address
) -> None:
    rows = [{"dst": str(one), "dev": "d", "table": name} for name, all_ in tables.items() for one in all_]
    found = fib([dict(rule.row) for rule in plain_rules("ipv4")], rows, (), "ipv4")
    assert found.decide(Packet(dst)).route == best(found.tables.get("main", ()), dst)


@given(PREFIXES, st.lists(PREFIXES, max_size=6), st.integers(min_value=0, max_value=2**32))
def test_an_address_of_a_range_fares_as_one_of_its_samples(
    whole: ipaddress.IPv4Network, named: list[ipaddress.IPv4Network], number: int
) -> None:
    dst = whole[number % whole.num_addresses]
    made = samples(whole, named)
    assert all(one in whole for one in made)
    assert [dst in net for net in named] in [[one in net for net in named] for one in made]
