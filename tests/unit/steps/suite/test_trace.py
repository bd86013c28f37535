"""What the taps of a traced ping amount to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.cni import catalogue
from harness.errors import UsageError
from harness.model.family import Family
from harness.model.records import Packet, Tap
from harness.model.spec import LabSpec
from harness.probes.sandboxes import Sandbox, Sandboxes
from harness.runner import Completed
from harness.steps.suite.trace import (
    ECHO_REPLY,
    ECHO_REPLY6,
    ECHO_REQUEST,
    ECHO_REQUEST6,
    End,
    Trace,
    family_for,
    find,
    judge,
    path,
)

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


A6, C6 = "fd00:10:244::2", "fd00:10:244:1::3"


def echo6(kind: int = ECHO_REQUEST6, hops: int = 64, src: str = A6, dst: str = C6) -> Packet:
    return Packet(t_us=0, src=src, dst=dst, proto="icmp6", length=SIZE + 48, ttl=hops, icmp_type=kind, icmp_code=0)


def test_a_ping_over_ipv6_is_followed_through_tunnels_of_both_families() -> None:
    over4, over6 = wrapped(echo6(hops=63)), wrapped(echo6(hops=63)).model_copy(update={"src": "fd00::11", "ttl": 60})
    reply = echo6(ECHO_REPLY6, src=C6, dst=A6)
    asked = Packet(t_us=0, src=A6, dst="ff02::1", proto="icmp6", length=72, ttl=255, icmp_type=135, icmp_code=0)
    taps = [
        tap(0, "eth0", asked, echo6(), reply),
        tap(1, "flannel-v6.1", echo6(hops=63)),
        tap(2, "nic", over4),
        tap(3, "far", over6),
    ]
    ends = End("a", A6, None, None, None), End("c", C6, None, None, None)
    traced = judge(*ends, taps, Completed(("ping",), 0, "", ""), SIZE, "ipv6")
    assert [(hop.direction, hop.tap.interface, hop.packet is not None) for hop in traced.hops][:4] == [
        ("request", "eth0", True),
        ("request", "flannel-v6.1", True),
        ("request", "nic", True),
        ("request", "far", True),
    ]
    assert traced.hops[1].changed == ("hop limit 64 -> 63",)
    assert traced.hops[2].changed == ("encapsulated: 172.18.0.11 -> 172.18.0.12 VNI 1",)
    assert traced.hops[-1].direction == "reply"
    over_ipv4 = judge(*ends, taps, Completed(("ping",), 0, "", ""), SIZE)
    assert over_ipv4.last_seen == "nowhere"


def there_of(spec: LabSpec, *pods: Sandbox) -> tuple[Any, Sandboxes]:
    """A lab of flannel, and the pods on its first node."""

    def machine(name: str, address: object) -> Any:
        return SimpleNamespace(name=name, address=address, runner=None, into_netns=lambda _netns: object())

    nodes = tuple(machine(name, spec.node_address(name)) for name in spec.node_names)
    lab = SimpleNamespace(
        nodes=nodes, router=machine("router", spec.router_address), far=machine("far", "198.51.100.10")
    )
    there: Any = SimpleNamespace(spec=spec, variant=catalogue.variant("flannel"), lab=lab)
    return there, Sandboxes(nodes, pods)


def sandbox(pod: str, *ips: str, host_network: bool = False) -> Sandbox:
    return Sandbox(
        id=pod, pod=pod, namespace="default", uid="u", node="n1", pid=7, netns="/proc/7/ns/net", inode=1,
        host_network=host_network, ip=ips[0], ips=ips,
    )  # fmt: skip


DUAL = LabSpec(ip_family="dual")


@pytest.mark.parametrize(
    ("target", "asked", "family"),
    [
        ("a", None, "ipv4"),
        ("a", "ipv6", "ipv6"),
        ("8.8.8.8", None, "ipv4"),
        ("2001:4860:4860::8888", None, "ipv6"),
        ("2001:4860:4860::8888", "ipv6", "ipv6"),
    ],
)
def test_an_address_says_over_which_family_it_is_pinged(target: str, asked: Family | None, family: Family) -> None:
    assert family_for(there_of(DUAL)[0].spec, target, asked) == family


def test_the_first_family_of_a_lab_is_the_usual_one() -> None:
    for spec in (LabSpec(ip_family="ipv6"), LabSpec(ip_family="dual", primary_family="ipv6")):
        assert family_for(there_of(spec)[0].spec, "a", None) == "ipv6"


def test_families_that_are_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match="the cluster has no IPv6"):
        family_for(there_of(LabSpec())[0].spec, "2001:db8::1", None)
    with pytest.raises(UsageError, match=r"8\.8\.8\.8 is no IPv6 address"):
        family_for(there_of(DUAL)[0].spec, "8.8.8.8", "ipv6")


def test_ends_have_an_address_of_the_family() -> None:
    pods = (
        sandbox("a", "10.244.0.2", A6),
        sandbox("old", "10.244.0.3"),
        sandbox("h", "172.18.0.11", host_network=True),
    )
    there, stock = there_of(DUAL, *pods)
    six = {word: find(there, stock, word, "ipv6").address for word in ("a", "h", "n2", "router", "far", C6)}
    assert six == {
        "a": A6,
        "h": "fd00:172:18::11",
        "n2": "fd00:172:18::12",
        "router": "fd00:172:18::1",
        "far": "2001:db8:100::10",
        C6: C6,
    }
    assert {word: find(there, stock, word).address for word in ("a", "h", "n2")} == {
        "a": "10.244.0.2",
        "h": "172.18.0.11",
        "n2": "172.18.0.12",
    }
    with pytest.raises(UsageError, match="default/old has no IPv6 address"):
        find(there, stock, "old", "ipv6")


def test_over_ipv6_the_taps_are_on_its_own_overlay() -> None:
    there, stock = there_of(DUAL, sandbox("a", "10.244.0.2", A6))
    points = list(path(there, find(there, stock, "a", "ipv6"), find(there, stock, "n2", "ipv6"), "ipv6"))
    assert [(point.interface, point.filter) for point in points] == [
        ("eth0", "icmp6"),
        ("cni0", "icmp6"),
        ("flannel-v6.1", "icmp6"),
        ("eth0", "icmp6 or udp port 8472"),
        ("eth0", "icmp6 or udp port 8472"),
        ("flannel-v6.1", "icmp6"),
    ]
    outside = path(there, find(there, stock, "a", "ipv6"), find(there, stock, "2001:db8::1", "ipv6"), "ipv6")
    assert [point.interface for point in outside] == ["eth0", "cni0", "eth0", "eth0"]


def taps_of(provider: Any, sender: str, receiver: str) -> list[str]:
    """Where one listens to a ping between machines, or to an address."""
    there, stock = there_of(LabSpec(provider=provider))
    ends = find(there, stock, sender), find(there, stock, receiver)
    return [f"{point.place} {point.interface}" for point in path(there, *ends)]


def test_the_router_is_listened_to_at_its_nic_on_the_nodes_network() -> None:
    assert taps_of("namespaces", "router", "n2") == ["router eth0", "n2 eth0"]
    assert taps_of("vagrant", "router", "n2") == ["router eth1", "n2 eth1"]
    assert taps_of("vagrant", "n1", "8.8.8.8") == ["n1 eth1", "router eth1"]
    assert taps_of("vagrant", "far", "n2") == ["far eth0", "n2 eth1"]


def test_no_overlay_leads_out_of_the_cluster() -> None:
    assert "n1 flannel.1" in taps_of("namespaces", "n1", "n2")
    for sender, receiver in (("n1", "router"), ("router", "n1"), ("n1", "8.8.8.8"), ("far", "n1")):
        assert "n1 flannel.1" not in taps_of("namespaces", sender, receiver)
