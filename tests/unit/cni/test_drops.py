"""What agents tell of packets that their programs drop."""

from __future__ import annotations

from pathlib import Path

from conformance.causes.traced import ended, told
from conformance.path.passages import Aim, by_programs
from conformance.path.places import world
from harness.cni.cilium.drops import MONITOR, read
from harness.model.datapath import Drop
from tests.unit.steps.why.test_answer import seen

SAID = (Path(__file__).parent / "cilium-drops.txt").read_text()
A, C = "10.244.0.71", "10.244.1.45"


def test_a_policys_drops_are_read_from_what_cilium_printed() -> None:
    assert MONITOR.begun in SAID
    assert set(read(SAID)) == {Drop("Policy denied", A, C, "icmp")}


def test_ports_and_replies_are_read_and_other_lines_are_none() -> None:
    text = """
{"type": "drop", "reason": "r", "summary": {"tcp": "x", "l3": {"src": "a", "dst": "b"}, "l4": {"src": "1", "dst": "?"}}}
{"type": "drop", "reason": "r", "summary": {"icmpv6": "… EchoReply …", "l3": {"src": "a", "dst": "b"}}}
{"type": "drop", "reason": "Unsupported L2 protocol"}
{"type": "trace"}
[]
Press Ctrl-C to quit
{ half"""
    assert list(read(text)) == [
        Drop("r", "a", "b", "tcp", 1, 0),
        Drop("r", "a", "b", "icmp", reply=True),
        Drop("Unsupported L2 protocol", "", ""),
    ]


def test_only_packets_of_the_flow_count() -> None:
    aim = Aim("ipv4", (A,), (C,), "tcp", (8080,))
    drops = [
        Drop("no", A, C, "tcp", 40000, 8080),
        Drop("no", C, A, "tcp", 8080, 40000),
        Drop("other port", A, C, "tcp", 40000, 81),
        Drop("other protocol", A, C, "udp", 40000, 8080),
        Drop("somebody else", "10.0.0.1", C, "tcp", 40000, 8080),
    ]
    found = by_programs("n2", drops, aim)
    assert [(one.direction, one.before, one.verdict, one.rule) for one in found] == [
        ("request", f"{A} > {C}:8080/tcp", "dropped", "no"),
        ("reply", f"{C}:8080 > {A}/tcp", "dropped", "no"),
    ]
    echoes = Aim("ipv4", (A,), (C,), "icmp")
    assert [one.direction for one in by_programs("n2", read(SAID), echoes)] == ["request", "request"]


def test_a_program_that_drops_is_a_cause() -> None:
    found = by_programs("n2", read(SAID), Aim("ipv4", (A,), (C,), "icmp"))
    end = ended(found, ("a", "n1", "n2", "c"), {}, f"{A} > {C}/icmp")
    assert end is not None
    cause = told(world(seen()), end, "ipv4")
    assert (cause.key, cause.kind) == ("n2/program/Policy denied", "seen.program")
    assert cause.sentence == f"a program of eBPF at n2 drops {A} > {C}/icmp: Policy denied"
