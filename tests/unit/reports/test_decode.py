"""Headers of a packet in a tunnel: their names, and that their bytes are what the tunnel costs."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from harness.model.records import Packet
from harness.probes import decode as probe
from harness.probes import pcap
from reports.addresses import Owners
from reports.panels.decode import decode
from tests.unit.probes import frames as make

A, C, N1, N2 = "10.244.1.2", "10.244.2.2", "172.18.0.11", "172.18.0.12"
ECHO = make.ipv4(make.echo(), A, C, 1)


def _packet(data: bytes) -> Packet:
    packet = probe.packet(pcap.Frame(0, pcap.ETHERNET, data, len(data)))
    assert packet is not None
    return packet


A6, C6, N16, N26 = "fd00:244:1::2", "fd00:244:2::2", "fd00:18::11", "fd00:18::12"
ECHO6 = make.ipv6(make.echo(128), A6, C6, 58)


@pytest.mark.parametrize(
    ("packet", "names", "overhead"),
    [
        (
            make.ipv4(make.udp(make.vxlan(make.ethernet(ECHO)), 41000, 8472), N1, N2, 17),
            ["Ethernet 14", "IPv4 20", "UDP 8", "VXLAN 8", "Ethernet 14", "IPv4 20", "ICMP 8", "data 56"],
            50,
        ),
        (
            make.ipv4(make.udp(make.geneve(make.ethernet(ECHO), 5, bytes(12)), 41000, 6081), N1, N2, 17),
            ["Ethernet 14", "IPv4 20", "UDP 8", "Geneve 20", "Ethernet 14", "IPv4 20", "ICMP 8", "data 56"],
            62,
        ),
        (make.ipv4(ECHO, N1, N2, 4), ["Ethernet 14", "IPv4 20", "IPv4 20", "ICMP 8", "data 56"], 20),
        (ECHO, ["Ethernet 14", "IPv4 20", "ICMP 8", "data 56"], 0),
        (
            make.ipv4(make.udp(make.vxlan(make.ethernet(ECHO6, 0x86DD)), 41000, 8472), N1, N2, 17),
            ["Ethernet 14", "IPv4 20", "UDP 8", "VXLAN 8", "Ethernet 14", "IPv6 40", "ICMPv6 8", "data 56"],
            50,
        ),
        (
            make.ipv6(make.udp(make.vxlan(make.ethernet(ECHO6, 0x86DD)), 41000, 8472), N16, N26, 17),
            ["Ethernet 14", "IPv6 40", "UDP 8", "VXLAN 8", "Ethernet 14", "IPv6 40", "ICMPv6 8", "data 56"],
            70,
        ),
    ],
    ids=["vxlan", "geneve", "ipip", "plain", "vxlan-ipv6", "vxlan-ipv6-over-ipv6"],
)
def test_headers_and_their_bytes(packet: bytes, names: list[str], overhead: int) -> None:
    kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    decoded = decode(_packet(make.ethernet(packet, kind)), "n1 eth0", Owners(None))
    assert [f"{segment.name} {segment.bytes}" for segment in decoded.segments] == names
    assert decoded.overhead == overhead
    tunnel = sum(segment.bytes for segment in decoded.segments if segment.layer == "tunnel")
    assert tunnel == overhead
    assert [f"{layer.name} {layer.size}" for layer in decoded.layers] == [
        name for name in names if not name.startswith("data")
    ]


def test_a_solicitation_says_whom_it_looks_for() -> None:
    body = b"\x87" + bytes(7) + IPv6Address(C6).packed + b"\x01\x01" + make.MAC_A
    packet = make.ethernet(make.ipv6(body, A6, "ff02::1:ff00:2", 58, hops=255), 0x86DD)
    layers = {layer.name: layer.fields for layer in decode(_packet(packet), "n1 eth0", Owners(None)).layers}
    assert [(fact.name, fact.value, fact.note) for fact in layers["ICMPv6"]] == [
        ("type", "135 / 0", "neighbour solicitation"),
        ("target", C6, "02:00:00:00:01:01"),
    ]
    assert ("hop limit", "255") in [(fact.name, fact.value) for fact in layers["IPv6"]]
