"""Headers of a packet in a tunnel: their names, and that their bytes are what the tunnel costs."""

from __future__ import annotations

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
    ],
    ids=["vxlan", "geneve", "ipip", "plain"],
)
def test_headers_and_their_bytes(packet: bytes, names: list[str], overhead: int) -> None:
    decoded = decode(_packet(make.ethernet(packet)), "n1 eth0", Owners(None))
    assert [f"{segment.name} {segment.bytes}" for segment in decoded.segments] == names
    assert decoded.overhead == overhead
    tunnel = sum(segment.bytes for segment in decoded.segments if segment.layer == "tunnel")
    assert tunnel == overhead
    assert [f"{layer.name} {layer.size}" for layer in decoded.layers] == [
        name for name in names if not name.startswith("data")
    ]
