"""What rules are said to do and packets contradict, and what no rule says, is recorded as not known."""

from __future__ import annotations

from typing import Any

import pytest

from harness.model.records import Leg
from tests.unit.conformance import simlab
from tests.unit.conformance.broken import HOST_FIREWALL, more_rules, nft_chain, saved_rules
from tests.unit.conformance.simlab import Change, dumps, exchanges

LEAVING = "n1/a to c, leaving/tcp"
LOST = exchanges({"outcome": "timeout", "errno": 110}, purpose="mesh", src="a", dst="c")
SOME = {"match": {"op": "<", "left": {"numgen": {"mode": "random", "mod": 100}}, "right": 10}}
PROGRAM = [{"xdp": [], "tc": [{"devname": "cni0", "kind": "tcx/ingress", "name": "watch"}], "flow_dissector": []}]


def leg(name: str, *changes: Change) -> Leg:
    result = simlab.verdict(simlab.changed(*changes), "node.filters")
    return next(one for one in result.legs if one.leg == name)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ((more_rules("n1", *HOST_FIREWALL),), "a did reach c with tcp"),
        ((more_rules("n1", *nft_chain("inet", "filter", "forward", [SOME, {"drop": None}])), LOST), "can be evaluated"),
        (
            (more_rules("n1", *nft_chain("inet", "filter", "forward", [{"queue": {"num": 3}}])), LOST),
            "can be evaluated",
        ),
        ((saved_rules("n1", "mangle", "FORWARD", "-A FORWARD -m bpf --object-pinned x -j DROP"), LOST), "evaluated"),
        ((more_rules("n1", *HOST_FIREWALL), LOST, dumps(lambda _: PROGRAM, place="n1", what="programs")), "at cni0"),
        ((dumps(lambda _: PROGRAM, place="n1", what="programs"),), "programs at cni0 decide"),
    ],
)
def test_what_is_not_certain_is_recorded(changes: tuple[Change, ...], why: str) -> None:
    found = leg(LEAVING, *changes)
    assert (found.status, found.observed) == ("record", "unknown")
    assert why in found.statement


@pytest.mark.parametrize(
    ("what", "data", "name"),
    [
        ("programs", {"error": "bpftool: not found"}, "n1/programs"),
        ("queues", [{"kind": "netem", "dev": "eth0"}], "n1/eth0"),
    ],
)
def test_what_devices_do_is_written_down(what: str, data: Any, name: str) -> None:
    assert leg(name, dumps(lambda _: data, place="n1", what=what)).status == "record"


def test_rules_in_both_backends_are_counted() -> None:
    named = dumps(lambda _: {"/proc/thread-self/net/ip_tables_names": "filter\n"}, place="n1", what="legacy-tables")
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n"
    found = leg("n1/backends", named, dumps(lambda _: text, place="n1", what="rules-legacy"))
    assert found.statement == "n1 has rules of iptables twice: 1 in iptables-legacy beside 8 in iptables"


def test_a_translation_that_nobody_saw_is_doubted() -> None:
    chain = nft_chain("ip", "nat", "postrouting", [{"masquerade": None}])
    assert leg(LEAVING, more_rules("n1", *chain)).status == "record"
    seen = exchanges({"peer": "172.18.0.11:9"}, purpose="mesh", src="a", dst="c")
    assert leg(LEAVING, more_rules("n1", *chain), seen).status == "fail"
