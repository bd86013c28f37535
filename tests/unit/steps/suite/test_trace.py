"""What the taps of a traced ping amount to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.cni import catalogue
from harness.model.records import Packet, Tap
from harness.model.spec import LabSpec
from harness.runner import Completed
from harness.steps.suite.trace import ECHO_REPLY, ECHO_REQUEST, End, Trace, judge, path

SIZE = 72
SENDER, RECEIVER = End("a", "10.244.0.2", None, None, None), End("c", "10.244.1.3", None, None, None)


def echo(kind: int = ECHO_REQUEST, ttl: int = 64, src: str = "10.244.0.2", dst: str = "10.244.1.3") -> Packet:
    return Packet(t_us=0, src=src, dst=dst, proto="icmp", length=SIZE + 28, ttl=ttl, icmp_type=kind, icmp_code=0)


def wrapped(inner: Packet) -> Packet:
    return Packet(
        t_us=0, src="172.18.0.11", dst="172.18.0.12", proto="udp", length=inner.length + 50, ttl=64, vni=1, inner=inner
    )


def tap(order: int, interface: str, *packets: Packet) -> Tap:
    return Tap(
        batch="trace",
        flow="a>c",
        order=order,
        node="n1",
        place="n1",
        interface=interface,
        command="",
        pcap="",
        packets=packets,
    )


def judged(*taps: Tap, ok: bool = True) -> Trace:
    return judge(SENDER, RECEIVER, list(taps), Completed(("ping",), 0 if ok else 1, "", ""), SIZE)


def test_hops_follow_the_request_and_then_the_reply_back() -> None:
    both = (echo(), echo(ECHO_REPLY, src="10.244.1.3", dst="10.244.0.2"))
    traced = judged(tap(1, "veth", *both), tap(0, "eth0", *both))
    assert [(hop.direction, hop.tap.interface) for hop in traced.hops] == [
        ("request", "eth0"),
        ("request", "veth"),
        ("reply", "veth"),
        ("reply", "eth0"),
    ]
    assert traced.answered


def test_what_changes_between_hops_is_said() -> None:
    traced = judged(
        tap(0, "cni0", echo()),
        tap(1, "flannel.1", echo(ttl=63)),
        tap(2, "eth0", wrapped(echo(ttl=63))),
        tap(3, "far", echo(ttl=63)),
        tap(4, "nat", echo(ttl=62, src="172.18.0.11")),
    )
    assert [hop.changed for hop in traced.hops] == [
        (),
        ("TTL 64 -> 63",),
        ("encapsulated: 172.18.0.11 -> 172.18.0.12 VNI 1",),
        ("decapsulated",),
        ("source 10.244.0.2 -> 172.18.0.11", "TTL 63 -> 62"),
    ]
    assert traced.hops[2].outer is not None
    assert traced.hops[2].outer.length == SIZE + 28 + 50


def test_a_lost_packet_is_last_seen_where_it_was() -> None:
    traced = judged(tap(0, "eth0", echo()), tap(1, "cni0", echo()), tap(2, "flannel.1"), ok=False)
    assert traced.last_seen == "n1:cni0 (request)"
    assert [hop.packet is None for hop in traced.hops] == [False, False, True]
    assert not traced.answered


def test_a_lost_reply_is_told_from_a_lost_request() -> None:
    reply = echo(ECHO_REPLY, src="10.244.1.3", dst="10.244.0.2")
    traced = judged(tap(0, "eth0", echo()), tap(1, "cni0", echo()), tap(2, "peer", echo(), reply), ok=False)
    assert traced.last_seen == "n1:peer (reply)"


def test_a_tap_beside_the_path_is_no_hop() -> None:
    traced = judged(tap(0, "eth0", echo()), tap(1, "flannel.1"), tap(2, "far", echo()))
    assert [hop.tap.interface for hop in traced.hops] == ["eth0", "far"]


@pytest.mark.parametrize("other", [echo().model_copy(update={"length": 84}), echo(3), wrapped(echo(3))])
def test_other_packets_are_not_taken_for_the_ping(other: Packet) -> None:
    traced = judged(tap(0, "eth0", other), ok=False)
    assert traced.last_seen == "nowhere"


def taps_of(provider: Any, sender: str, receiver: str) -> list[str]:
    """Where one listens to a ping between machines, or to an address."""
    spec = LabSpec(provider=provider)
    machines = {name: SimpleNamespace(name=name, runner=None) for name in (*spec.node_names, "router", "far")}
    lab = SimpleNamespace(router=machines["router"])
    there: Any = SimpleNamespace(spec=spec, variant=catalogue.variant("flannel"), lab=lab)

    def end(word: str) -> End:
        node: Any = machines.get(word)
        return End(word, word, node, None, None)

    return [f"{point.place} {point.interface}" for point in path(there, end(sender), end(receiver))]


def test_the_router_is_listened_to_at_its_nic_on_the_nodes_network() -> None:
    assert taps_of("namespaces", "router", "n2") == ["router eth0", "n2 eth0"]
    assert taps_of("vagrant", "router", "n2") == ["router eth1", "n2 eth1"]
    assert taps_of("vagrant", "n1", "8.8.8.8") == ["n1 eth1", "router eth1"]
    assert taps_of("vagrant", "far", "n2") == ["far eth0", "n2 eth1"]


def test_no_overlay_leads_out_of_the_cluster() -> None:
    assert "n1 flannel.1" in taps_of("namespaces", "n1", "n2")
    for sender, receiver in (("n1", "router"), ("router", "n1"), ("n1", "8.8.8.8"), ("far", "n1")):
        assert "n1 flannel.1" not in taps_of("namespaces", sender, receiver)
