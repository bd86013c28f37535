"""What nftables asks of a packet is understood as the kernel does, and what is not understood is said to be unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conformance.netfilter import Flow
from conformance.nft import base_ends, nft_verdicts, ruleset
from conformance.nft_match import chosen, holds

FLOW = Flow("10.244.0.2", "10.244.1.2", "cni0", "eth0")
SETS = {"some": [{"prefix": {"addr": "10.244.0.0", "len": 16}}, {"range": ["192.0.2.4", "192.0.2.9"]}], "moving": None}
FLAGS = {"payload": {"protocol": "tcp", "field": "flags"}}
MASKED = {"&": [FLAGS, ["fin", "syn", "rst", "ack"]]}


def field(protocol: str, name: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": name}}


def meta(key: str) -> dict[str, Any]:
    return {"meta": {"key": key}}


@pytest.mark.parametrize(
    ("left", "how", "right", "expected"),
    [
        ({"ct": {"key": "state"}}, "in", ["established", "related"], False),
        ({"ct": {"key": "state"}}, "in", "new", True),
        ({"ct": {"key": "status"}}, "in", "dnat", False),
        ({"ct": {"key": "status"}}, "in", "assured", None),
        (field("ip", "saddr"), "==", "@some", True),
        (field("ip", "saddr"), "!=", "@moving", None),
        (field("ip", "saddr"), "==", {"range": ["10.244.0.1", "10.244.0.9"]}, True),
        (field("ip", "daddr"), "!=", {"prefix": {"addr": "10.244.0.0", "len": 16}}, False),
        (field("ip6", "saddr"), "!=", "fd00::1", False),
        (field("tcp", "dport"), "==", {"set": [22, {"range": [8000, 8090]}]}, True),
        (field("tcp", "dport"), "==", {"set": [22, {"range": [80, 90]}]}, False),
        (field("udp", "dport"), "!=", 53, False),
        (field("tcp", "sport"), "==", 53, None),
        (field("icmp", "type"), "==", {"set": ["echo-reply", "echo-request"]}, False),
        (FLAGS, "in", "syn", True),
        (MASKED, "==", "syn", True),
        (MASKED, "!=", "syn", False),
        (MASKED, "==", ["syn", "ack"], False),
        (meta("length"), ">", 1400, True),
        (meta("length"), "<=", 1400, False),
        (field("ip", "length"), "==", {"range": [1450, 1500]}, True),
        (meta("iifname"), "==", "cni*", True),
        (meta("mark"), "==", 0, True),
        ({"&": [meta("mark"), 0x4000]}, "==", 0x4000, False),
        (meta("pkttype"), "==", "host", None),
        ({"fib": {"result": "type", "flags": ["daddr"]}}, "==", "local", None),
        ({"numgen": {"mode": "random", "mod": 100}}, "<", 10, None),
        ({"concat": [field("ip", "daddr"), meta("l4proto"), field("th", "dport")]}, "==",
         {"set": [{"concat": ["10.244.1.2", "tcp", 8080]}]}, True),
        ({"concat": [field("ip", "daddr"), field("tcp", "sport")]}, "!=", "@moving", None),
    ],
)  # fmt: skip
def test_a_match_holds_does_not_or_is_not_known(left: Any, how: str, right: Any, *, expected: bool | None) -> None:
    assert holds({"op": how, "left": left, "right": right}, replace(FLOW, length=1450), SETS) is expected


VMAP = {
    "key": {"concat": [field("ip", "daddr"), meta("l4proto"), field("th", "dport")]},
    "data": {"set": [[{"concat": ["10.244.1.2", "tcp", 443]}, {"drop": None}]]},
}


def test_a_verdict_map_gives_the_verdict_of_its_key_alone() -> None:
    assert chosen(VMAP, FLOW, {}) == ([], False)
    assert chosen(VMAP, replace(FLOW, dport=443), {}) == ([{"drop": None}], True)
    assert chosen(VMAP | {"data": "@gone"}, FLOW, {}) == ([{"unknown": None}], None)


def table(*rules: list[dict[str, Any]], hook: str = "forward", kind: str = "filter", **base: Any) -> list[Any]:
    place = {"family": "inet", "table": "t"}
    chain = {**place, "name": "c", "type": kind, "hook": hook, "prio": 0, "policy": "accept", **base}
    return [{"chain": chain}, *({"rule": {**place, "chain": "c", "expr": rule}} for rule in rules)]


def test_an_end_has_the_place_of_its_rule() -> None:
    rules = ruleset(table([{"counter": {"packets": 1, "bytes": 2}}], [{"drop": None}]))
    (end,) = base_ends(rules, rules.bases[0], FLOW)
    assert (end.verdict, end.rule) == ("drop", "table inet t, chain c, rule 2")


def test_a_policy_has_its_place_too() -> None:
    rules = ruleset(table(policy="drop"))
    (end,) = base_ends(rules, rules.bases[0], FLOW)
    assert (end.verdict, end.rule) == ("drop", "the policy of table inet t, chain c")


def test_a_mark_that_one_rule_sets_is_what_the_next_one_asks_for() -> None:
    mark = {"mangle": {"key": meta("mark"), "value": {"|": [meta("mark"), 0x4000]}}}
    asked = {"match": {"op": "==", "left": {"&": [meta("mark"), 0x4000]}, "right": 0x4000}}
    assert nft_verdicts(ruleset(table([mark], [asked, {"drop": None}])), "filter", "forward", FLOW) == {"drop"}
    strange = {"mangle": {"key": meta("mark"), "value": {"ct": {"key": "mark"}}}}
    assert nft_verdicts(ruleset(table([strange], [asked, {"drop": None}])), "filter", "forward", FLOW) == {
        "accept",
        "drop",
    }


@pytest.mark.parametrize(
    "statement", [{"limit": {"rate": 10, "per": "second"}}, {"quota": {}}, {"ct count": {"val": 50}}, {"xt": None}]
)
def test_what_may_or_may_not_let_a_packet_on_leaves_both_ends_open(statement: dict[str, Any]) -> None:
    found = nft_verdicts(ruleset(table([statement, {"drop": None}])), "filter", "forward", FLOW)
    assert found == {"accept", "drop"}


def test_what_another_program_decides_is_not_known() -> None:
    assert "unknown" in nft_verdicts(ruleset(table([{"queue": {"num": 3}}])), "filter", "forward", FLOW)


def test_a_translation_of_one_family_is_none_of_the_other() -> None:
    rules = table([{"dnat": {"family": "ip", "addr": "10.0.0.1"}}], hook="prerouting", kind="nat")
    assert nft_verdicts(ruleset(rules), "nat", "prerouting", FLOW) == {"dnat"}
    assert nft_verdicts(ruleset(rules), "nat", "prerouting", Flow("fd00::1", "fd00::2")) == {"accept"}
