from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cni import catalogue
from harness.model.records import Packet
from harness.probes import decode, pcap
from tests.unit.probes import frames as make

A, C, N1, N2 = "10.244.1.2", "10.244.2.2", "172.18.0.11", "172.18.0.12"


def one(data: bytes, link: int = pcap.ETHERNET) -> Packet:
    packet = decode.packet(pcap.Frame(5, link, data, len(data)), start_us=2)
    assert packet is not None
    return packet


def test_an_echo_request_has_addresses_ttl_and_sequence() -> None:
    got = one(make.ethernet(make.ipv4(make.echo(seq=3, ident=9), A, C, 1, ttl=62, flags=0x4000, ip_id=77)))
    assert (got.src, got.dst, got.proto, got.ttl, got.length) == (A, C, "icmp", 62, 84)
    assert (got.icmp_type, got.icmp_code, got.icmp_id, got.icmp_seq) == (8, 0, 9, 3)
    assert (got.df, got.ip_id, got.frame, got.t_us) == (True, 77, 98, 3)
    assert (got.src_mac, got.dst_mac) == ("02:00:00:00:01:01", "02:00:00:00:02:02")


def test_vxlan_carries_a_whole_frame() -> None:
    inner = make.ethernet(make.ipv4(make.echo(), A, C, 1, ttl=63), src=b"\x02\0\0\0\0\x0a", dst=b"\x02\0\0\0\0\x0b")
    got = one(make.ethernet(make.ipv4(make.udp(make.vxlan(inner, 1), 41000, 8472), N1, N2, 17)))
    assert (got.src, got.dst, got.proto, got.dst_port, got.vni, got.vxlan_flags) == (N1, N2, "udp", 8472, 1, 8)
    assert got.length == 84 + 50
    assert got.inner is not None
    assert (got.inner.src, got.inner.dst, got.inner.ttl, got.inner.length) == (A, C, 63, 84)
    assert (got.inner.src_mac, got.inner.dst_mac) == ("02:00:00:00:00:0a", "02:00:00:00:00:0b")
    assert got.inner.inner is None


@pytest.mark.parametrize("options", [b"", b"\x01\x14\x81\x02" + bytes(8)], ids=["plain", "options"])
def test_geneve_carries_a_whole_frame(options: bytes) -> None:
    inner = make.ethernet(make.ipv4(make.echo(), A, C, 1, ttl=63))
    got = one(make.ethernet(make.ipv4(make.udp(make.geneve(inner, 0x1ACB, options), 41000, 6081), N1, N2, 17)))
    assert (got.src, got.dst, got.dst_port, got.vni, got.vxlan_flags) == (N1, N2, 6081, 0x1ACB, None)
    assert got.inner is not None
    assert (got.inner.src, got.inner.dst, got.inner.ttl, got.inner.frame) == (A, C, 63, len(inner))


def test_geneve_may_carry_a_bare_packet() -> None:
    inner = make.geneve(make.ipv4(make.echo(), A, C, 1), kind=0x0800)
    got = one(make.ethernet(make.ipv4(make.udp(inner, 41000, 6081), N1, N2, 17))).inner
    assert got is not None
    assert (got.src, got.dst) == (A, C)


@pytest.mark.parametrize("body", [b"probe", b"\x40" + bytes(60), bytes(60)], ids=["short", "version", "payload"])
def test_what_a_pod_says_on_the_port_of_geneve_is_no_geneve(body: bytes) -> None:
    got = one(make.ethernet(make.ipv4(make.udp(body, 41000, 6081), A, C, 17)))
    assert (got.inner, got.vni) == (None, None)


def test_vxlan_is_told_by_its_port_alone() -> None:
    inner = make.vxlan(make.ethernet(make.ipv4(make.echo(), A, C, 1)), 5)
    packet = make.ethernet(make.ipv4(make.udp(inner, 1, 7777), N1, N2, 17))
    assert one(packet).inner is None
    frame = pcap.Frame(0, pcap.ETHERNET, packet, len(packet))
    known = decode.packet(frame, vxlan_ports=frozenset({7777}))
    assert known is not None
    assert known.vni == 5


def test_the_ports_of_all_variants_are_known() -> None:
    wires = [catalogue.variant(name).expect.wire for name in catalogue.names()]
    assert {wire.port for wire in wires if wire.kind == "vxlan"} <= decode.VXLAN_PORTS


def test_arp_in_a_tunnel_names_sender_and_target() -> None:
    arp = bytes.fromhex("00010800060400010200000000010af401000000000000000af40200")
    inner = make.ethernet(arp, 0x0806)
    got = one(make.ethernet(make.ipv4(make.udp(make.vxlan(inner), 1, 4789), N1, N2, 17))).inner
    assert got is not None
    assert (got.proto, got.src, got.dst, got.arp_op) == ("arp", "10.244.1.0", "10.244.2.0", 1)


def test_a_syn_tells_its_flags_and_mss() -> None:
    options = bytes.fromhex("01020405820402")  # NOP, MSS 1410, SACK permitted …
    got = one(make.ethernet(make.ipv4(make.tcp(40000, 8080, 0x02, options + b"\0"), A, C, 6)))
    assert (got.tcp_flags, got.tcp_mss, got.src_port, got.dst_port) == ("S", 1410, 40000, 8080)
    assert one(make.ethernet(make.ipv4(make.tcp(1, 2, 0x12), A, C, 6))).tcp_flags == "SA"


def test_an_option_of_length_zero_does_not_loop() -> None:
    got = one(make.ethernet(make.ipv4(make.tcp(1, 2, 2, b"\x08\0\x02\x04"), A, C, 6)))
    assert got.tcp_mss is None


def test_the_first_fragment_has_ports_and_the_others_have_not() -> None:
    first = one(make.ethernet(make.ipv4(make.udp(bytes(1472), 5, 6), A, C, 17, flags=0x2000)))
    assert (first.more_fragments, first.fragment_offset, first.src_port) == (True, 0, 5)
    last = one(make.ethernet(make.ipv4(make.udp(bytes(100), 5, 6), A, C, 17, flags=185)))
    assert (last.more_fragments, last.fragment_offset, last.src_port) == (False, 1480, None)


def test_fragmentation_needed_names_the_mtu() -> None:
    message = b"\x03\x04\0\0\0\0" + (1300).to_bytes(2) + make.ipv4(make.udp(b"", 1, 2), A, C, 17)
    got = one(make.ethernet(make.ipv4(message, "172.18.0.1", A, 1)))
    assert (got.icmp_type, got.icmp_code, got.icmp_mtu) == (3, 4, 1300)


def test_ipv6_and_its_fragments() -> None:
    got = one(make.ethernet(make.ipv6(make.udp(b"x", 1, 53), "2001:db8::1", "2001:db8::2", 17, hops=62), 0x86DD))
    assert (got.src, got.proto, got.dst_port, got.ttl, got.length) == ("2001:db8::1", "udp", 53, 62, 49)
    piece = b"\x11\0" + (1448 | 1).to_bytes(2) + bytes(4) + bytes(16)
    got = one(make.ethernet(make.ipv6(piece, "2001:db8::1", "2001:db8::2", 44), 0x86DD))
    assert (got.proto, got.fragment_offset, got.more_fragments, got.src_port) == ("udp", 1448, True, None)


def icmp6(body: str, hops: int = 255) -> Packet:
    return one(make.ethernet(make.ipv6(bytes.fromhex(body), "fe80::1", "ff02::1", 58, hops=hops), 0x86DD))


def test_a_redirect_names_the_better_next_hop() -> None:
    target, destination = f"fe80{'00' * 13}02", f"fd00{'00' * 13}09"
    got = icmp6(f"89000000 00000000 {target} {destination} 0201020000000202")
    assert (got.icmp_type, got.nd_target, got.nd_mac) == (137, "fe80::2", "02:00:00:00:02:02")


def test_packet_too_big_and_the_option_of_a_router_name_an_mtu() -> None:
    assert icmp6("02000000 00000514" + "00" * 40).icmp_mtu == 1300
    assert icmp6("86000000 40000000 00000000 00000000 05010000000005dc").icmp_mtu == 1500


@given(st.sampled_from([130, 132, 133, 134, 135, 136, 137, 143]), st.binary(max_size=120))
def test_what_is_cut_off_of_icmpv6_is_left_out(kind: int, noise: bytes) -> None:
    got = icmp6((bytes([kind, 0]) + noise).hex())
    assert got.icmp_type == (kind if len(noise) >= 6 else None)


def test_other_link_types_lose_their_header() -> None:
    packet = make.ipv4(make.echo(), A, C, 1)
    assert one(packet, pcap.RAW_IP).src == A
    assert one(bytes(14) + b"\x08\0" + packet, pcap.LINUX_SLL).src == A
    assert one(b"\x08\0" + bytes(18) + packet, pcap.LINUX_SLL2).src == A
    assert one(make.MAC_A + make.MAC_B + b"\x81\0\0\x05\x08\0" + packet).src == A


def test_marked_frames_are_no_packets() -> None:
    marked, other = make.canary("start x"), make.ethernet(make.ipv4(make.echo(), A, C, 1))
    frames = list(pcap.frames(make.pcap((1, marked), (2, other))))
    assert [decode.canary(frame) for frame in frames] == ["start x", None]
    assert [packet.src for packet in decode.packets(frames)] == [A]


def test_the_length_field_ends_the_packet_and_not_the_padding() -> None:
    got = one(make.ethernet(make.ipv4(make.udp(b"", 1, 8472), N1, N2, 17) + bytes(18)))
    assert got.vni is None


@given(st.binary(max_size=200), st.sampled_from([0, 4, 41, 43, 44, 60, 132]))
def test_headers_that_lead_to_others_end(noise: bytes, following: int) -> None:
    chain = bytes([following, 0]) * 40 + noise
    for packet in (
        make.ipv6(chain, "fd00::1", "fd00::2", following),
        make.ipv6(noise, "fd00::1", "fd00::2", following),
    ):
        assert one(make.ethernet(packet, 0x86DD)).length == len(packet)
    nested = make.ipv4(noise, A, C, following)
    for _ in range(10):
        nested = make.ipv4(nested, N1, N2, 4)
    assert one(make.ethernet(nested)).proto == "ipip"


@given(st.binary(max_size=80), st.integers(0, 120))
def test_no_frame_makes_it_raise(noise: bytes, cut: int) -> None:
    inner = make.ethernet(make.ipv4(make.tcp(1, 2, 2, noise[:40].ljust(40, b"\x02")), A, C, 6))
    whole = make.ethernet(make.ipv4(make.udp(make.vxlan(inner), 1, 8472), N1, N2, 17))
    for data in (noise, whole[:cut], whole[:cut] + noise, make.ethernet(noise), make.ethernet(noise, 0x86DD)):
        decode.packet(pcap.Frame(0, pcap.ETHERNET, data, len(data)))
