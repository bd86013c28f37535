"""What netfilter's trace says, read from traces of a real kernel: a node between two namespaces, with a Service."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from conformance.causes.traced import counters, ended, grown
from conformance.path.passages import Aim, Passage, along, ends_of, passages, ruleset

TRACES = Path(__file__).parent / "traces"
AIM = Aim("ipv4", ("10.1.0.2", "10.2.0.1"), ("10.96.0.9", "10.2.0.2"), "tcp", (80, 8080))
DIALLED, LED = "10.1.0.2 > 10.96.0.9:80/tcp", "10.1.0.2 > 10.2.0.2:8080/tcp"


def read(name: str, place: str = "n1") -> tuple[Passage, ...]:
    return passages(place, (TRACES / f"{name}.txt").read_text(), AIM)


def passage(place: str, hook: str, direction: str = "request", verdict: str = "passed", oif: str = "") -> Passage:
    packet = LED if direction == "request" else "10.2.0.2:8080 > 10.1.0.2/tcp"
    return Passage(place, direction, hook, "va", oif, packet, packet, verdict)  # type: ignore[arg-type]


def test_a_request_is_translated_twice_and_its_reply_is_translated_back() -> None:
    seen = read("accept")
    assert {one.verdict for one in seen} == {"passed"}
    assert [(one.direction, one.hook, one.iif, one.oif, one.before, one.after) for one in seen[:6]] == [
        ("request", "prerouting", "va", "", DIALLED, LED),
        ("request", "forward", "va", "vc", LED, LED),
        ("request", "postrouting", "va", "vc", LED, "10.2.0.1 > 10.2.0.2:8080/tcp"),
        ("reply", "prerouting", "vc", "", "10.2.0.2:8080 > 10.2.0.1/tcp", "10.2.0.2:8080 > 10.1.0.2/tcp"),
        ("reply", "forward", "vc", "va", "10.2.0.2:8080 > 10.1.0.2/tcp", "10.2.0.2:8080 > 10.1.0.2/tcp"),
        ("reply", "postrouting", "vc", "va", "10.2.0.2:8080 > 10.1.0.2/tcp", "10.96.0.9:80 > 10.1.0.2/tcp"),
    ]


def test_the_rule_that_drops_is_told_with_its_handle_and_without_its_counter() -> None:
    one = read("reject")[-1]
    assert (one.hook, one.verdict, one.table, one.chain, one.handle) == ("forward", "dropped", "inet mine", "cut", 2)
    assert one.rule == "ip daddr 10.2.0.2 tcp dport 8080 reject with icmp port-unreachable"
    end = ended(read("reject"), ("a", "n1", "c"), {}, DIALLED)
    assert end is not None
    assert (end.kind, end.place, end.thing) == ("seen.drops", "n1", "nft/inet mine/cut/2")


def test_what_nftables_does_not_know_of_stops_a_packet_inside_of_a_hook() -> None:
    """A rule of iptables-legacy."""
    assert [(one.hook, one.verdict) for one in read("legacy")] == [("prerouting", "passed"), ("forward", "lost")]
    end = ended(read("legacy"), ("a", "n1", "c"), {}, DIALLED)
    assert end is not None
    assert (end.kind, end.thing, end.facts["hook"]) == ("seen.vanishes", "hook/forward", "forward")


def test_what_the_kernel_does_not_route_ends_after_prerouting_and_is_counted() -> None:
    """A blackhole route."""
    end = ended(read("route"), ("a", "n1", "c"), {"n1": {"IpInAddrErrors": 0, "IpExtInNoRoutes": 2}}, DIALLED)
    assert end is not None
    assert (end.kind, end.place) == ("seen.unrouted", "n1")
    assert end.facts["counted"] == " (its kernel counted IpExtInNoRoutes 2)"
    assert (end.facts["source"], end.facts["address"], end.facts["device"]) == ("10.1.0.2", "10.2.0.2", "va")


@pytest.mark.parametrize(
    ("seen", "kind", "place", "also"),
    [
        ([], "seen.unsent", "a", ""),
        ([passage("a", "output"), passage("a", "postrouting", oif="eth0")], "seen.lost", "a", "n1"),
        ([passage("n1", "prerouting"), passage("n1", "input")], "seen.taken", "n1", "c"),
        ([passage("n1", "postrouting"), passage("c", "prerouting"), passage("c", "input")], "seen.unanswered", "c", ""),
        (
            [passage("c", "input"), passage("c", "postrouting", "reply"), passage("n1", "postrouting", "reply")],
            "seen.lost",
            "n1",
            "a",
        ),
        ([passage("c", "input"), passage("n1", "prerouting", "reply")], "seen.unrouted", "n1", ""),
        ([passage("c", "input"), passage("n1", "forward", "reply", "lost")], "seen.vanishes", "n1", ""),
    ],
)
def test_where_packets_end_tells_what_to_look_at(seen: list[Passage], kind: str, place: str, also: str) -> None:
    end = ended(seen, ("a", "n1", "c"), {}, DIALLED)
    assert end is not None
    assert (end.kind, end.place, end.also) == (kind, place, also)


def test_of_an_answer_that_came_back_nothing_is_said() -> None:
    back = [passage("c", "input"), *(passage(place, "input", "reply") for place in ("n1", "a"))]
    assert ended(back, ("a", "n1", "c"), {}, DIALLED) is None
    # Nobody was asked behind the last place.
    assert ended([passage("n1", "postrouting", oif="eth0")], ("a", "n1"), {}, DIALLED) is None


def test_passages_are_told_along_the_way_each_once() -> None:
    seen = [
        passage("a", "output"), passage("a", "input", "reply"), passage("c", "input"), passage("c", "output", "reply"),
        passage("n1", "forward"), passage("n1", "forward"), carrying("n1", "output"), carrying("n1", "input"),
        passage("n1", "forward", "reply"), carrying("n2", "input"), passage("n2", "forward"),
        passage("n2", "forward", "reply"), carrying("n2", "output"), passage("router", "forward"),
    ]  # fmt: skip
    told = [(one.place, one.direction, one.hook) for one in along(seen, ("a", "n1", "n2", "c"))]
    assert told == [
        ("a", "request", "output"),
        ("n1", "request", "forward"),
        ("n1", "tunnel", "output"),
        ("n2", "tunnel", "input"),
        ("n2", "request", "forward"),
        ("c", "request", "input"),
        ("router", "request", "forward"),
        ("c", "reply", "output"),
        ("n2", "reply", "forward"),
        ("n2", "tunnel", "output"),
        ("n1", "tunnel", "input"),
        ("n1", "reply", "forward"),
        ("a", "reply", "input"),
    ]


def test_echoes_and_packets_of_ipv6_are_read() -> None:
    aim = Aim("ipv6", ("fd00::2",), ("fd00::3",), "icmp")
    head = 'trace id 1 inet cnilab-trace prerouting-{} {} iif "eth0" ip6 saddr fd00::3 ip6 daddr fd00::2 '
    text = "\n".join((
        head.format("first", "packet:") + "icmpv6 type echo-reply icmpv6 code no-route",
        head.format("last", "packet:") + "icmpv6 type echo-reply icmpv6 code no-route",
        "trace id 1 inet cnilab-trace prerouting-last policy accept ",
        "trace id 2 inet other chain policy drop ",
    ))  # fmt: skip
    packet = "fd00::3 > fd00::2/icmp"
    assert passages("a", text, aim) == (Passage("a", "reply", "prerouting", "eth0", "", packet, packet, "passed"),)
    assert ends_of("[fd00::2]:80 > fd00::3/tcp") == ("fd00::2", "fd00::3")
    assert ends_of("10.0.0.1 > 10.0.0.2:80/tcp") == ("10.0.0.1", "10.0.0.2")
    assert ends_of("?") == ("", "")


TUNNEL = Aim("ipv4", AIM.sources, AIM.targets, "tcp", (80, 8080), (8472,))


def carrying(place: str, hook: str, verdict: str = "passed", oif: str = "") -> Passage:
    packet = "172.18.0.11 > 172.18.0.12:8472/udp"
    return Passage(place, "tunnel", hook, "", oif, packet, packet, verdict)  # type: ignore[arg-type]


def test_what_carries_the_flow_through_a_tunnel_is_marked_and_told_from_it() -> None:
    line = ruleset(TUNNEL)
    assert "udp dport { 8472 } @th,336,32 { 0xa010002, 0xa020001, 0xa600009, 0xa020002 } @th,368,32 { 0xa010002" in line
    six = ruleset(Aim("ipv6", ("fd00::2",), ("fd00::3",), "icmp", (), (8472,)))
    assert "@th,304,128 { 0xfd000000000000000000000000000002, " in six
    text = (
        'trace id 1 inet cnilab-trace output-first packet: oif "eth0" ip saddr 172.18.0.11 ip daddr 172.18.0.12 '
        "ip protocol udp udp sport 41000 udp dport 8472\n"
        "trace id 1 inet cnilab-trace output-last policy accept \n"
    )
    assert passages("n1", text, TUNNEL) == (carrying("n1", "output", oif="eth0"),)


@pytest.mark.parametrize(
    ("carried", "kind", "place", "also"),
    [
        ([carrying("n1", "postrouting", oif="eth0")], "seen.lost", "n1", "n2"),
        ([carrying("n1", "output", "dropped")], "seen.drops", "n1", ""),
        ([carrying("n2", "prerouting"), carrying("n2", "input", "lost")], "seen.vanishes", "n2", ""),
        ([carrying("n2", "prerouting"), carrying("n2", "input")], "seen.kept", "n2", "n1"),
    ],
)
def test_where_what_carries_the_flow_ends(carried: list[Passage], kind: str, place: str, also: str) -> None:
    inner = [passage("n1", "forward"), passage("n1", "postrouting", oif="flannel.1")]
    end = ended([*inner, *carried], ("a", "n1", "n2", "c"), {}, DIALLED)
    assert end is not None
    assert (end.kind, end.place, end.also) == (kind, place, also)
    if kind == "seen.lost":
        assert end.facts["device"] == "eth0"


def test_a_policy_drops_too() -> None:
    text = (
        'trace id 1 inet cnilab-trace input-first packet: iif "eth0" ip saddr 10.1.0.2 ip daddr 10.2.0.2 tcp dport 80\n'
        "trace id 1 ip filter INPUT policy drop \n"
    )
    (one,) = passages("c", text, AIM)
    assert (one.verdict, one.table, one.chain, one.rule, one.handle) == ("dropped", "ip filter", "INPUT", "", 0)


@pytest.mark.parametrize("aim", [AIM, Aim("ipv6", ("fd00::2", "fd00::2"), ("fd00::3",), "icmp")])
def test_the_table_is_one_line_that_nft_takes(aim: Aim, tmp_path: Path) -> None:
    line = ruleset(aim)
    assert (line.count("\n"), line.count(" type filter hook ")) == (1, 10)
    assert line.count("meta nftrace set 1") == 4
    if (program := shutil.which("nft")) is None:
        pytest.skip("nft is not on PATH")
    file = tmp_path / "rules"
    file.write_text(line)
    # --check asks the kernel, for which a user needs a network namespace of its own; syntax errors come before that.
    done = subprocess.run([program, "--check", "--file", file], capture_output=True, text=True, check=False)
    assert "syntax error" not in done.stderr


def test_only_counters_of_drops_count_and_only_what_has_grown() -> None:
    before = "Ip: Forwarding InNoRoutes InAddrErrors\nIp: 1 0 3\nTcpExt: IPReversePathFilter\nTcpExt: 7\n"
    before += "Ip6InNoRoutes                   \t2\nIp6InReceives 9\n"
    after = before.replace(" 7", " 9").replace("\t2", "\t3").replace("1 0 3", "1 0 3")
    assert counters(before) == {"IpInAddrErrors": 3, "TcpExtIPReversePathFilter": 7, "Ip6InNoRoutes": 2}
    assert grown(counters(before), counters(after)) == {"TcpExtIPReversePathFilter": 2, "Ip6InNoRoutes": 1}
