"""Arithmetic of ranges and sizes holds for every input, not only for the usual ones."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import maths

MTUS = st.integers(min_value=576, max_value=65535)
NETWORKS = st.builds(
    lambda number, length: ipaddress.ip_network((number, length), strict=False),
    st.integers(min_value=0, max_value=2**32 - 1),
    st.integers(min_value=8, max_value=30),
)


@given(MTUS, st.integers(min_value=0, max_value=130))
def test_a_ladder_has_the_last_size_that_passes_and_the_first_that_does_not(underlay: int, overhead: int) -> None:
    effective = underlay - overhead
    sizes = maths.ladder(effective, underlay)
    assert {effective, effective + 1, underlay} <= set(sizes)
    assert list(sizes) == sorted(set(sizes))
    edges = {effective - 1, effective, effective + 1, underlay, underlay + 1}
    assert all(size < effective for size in set(sizes) - edges)


@given(MTUS, MTUS)
def test_a_pair_takes_the_smaller_mtu_in_both_directions(one: int, other: int) -> None:
    assert maths.pair_mtu(one, other) == maths.pair_mtu(other, one) == min(one, other)


@given(MTUS)
def test_payload_and_headers_make_the_packet_again(mtu: int) -> None:
    assert maths.udp_payload(mtu) + 28 == mtu
    assert maths.tcp_mss(mtu) + 40 == mtu
    assert maths.tcp_mss(mtu, ipv6=True) + 60 == mtu


@given(st.integers(min_value=29, max_value=65535), MTUS)
def test_fragments_carry_the_whole_packet_and_not_one_is_spare(packet: int, mtu: int) -> None:
    count = maths.fragments(packet, mtu)
    if packet <= mtu:
        assert count == 1
        return
    room = (mtu - 20) // 8 * 8
    assert (count - 1) * room < packet - 20 <= count * room


@given(st.lists(NETWORKS, min_size=2, max_size=6))
def test_networks_overlap_exactly_when_they_share_an_address(networks: list[ipaddress.IPv4Network]) -> None:
    named = {str(number): str(network) for number, network in enumerate(networks)}
    found = set(maths.overlaps(named))
    for i, one in enumerate(networks):
        for j in range(i + 1, len(networks)):
            other = networks[j]
            shared = max(int(one[0]), int(other[0])) <= min(int(one[-1]), int(other[-1]))
            assert ((str(i), str(j)) in found) is shared


@given(NETWORKS, st.data())
def test_addresses_of_a_network_are_inside_it_and_its_neighbour_is_not(
    network: ipaddress.IPv4Network, data: st.DataObject
) -> None:
    inside = data.draw(st.integers(min_value=int(network[0]), max_value=int(network[-1])))
    assert maths.inside(str(ipaddress.ip_address(inside)), str(network))
    beyond = (int(network[-1]) + 1) % 2**32
    assert not maths.inside(str(ipaddress.ip_address(beyond)), str(network))


def test_families_never_contain_each_other() -> None:
    assert not maths.inside("::1", "10.0.0.0/8")
    assert not maths.overlaps({"four": "0.0.0.0/0", "six": "::/0"})


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"))))
def test_an_address_is_shared_exactly_when_it_has_two_owners(owners: list[tuple[str, str]]) -> None:
    found = maths.duplicates(owners)
    for address in "abc":
        names = {owner for held, owner in owners if held == address}
        assert (address in found) is (len(names) > 1)
        assert set(found.get(address, names)) == names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("[::1]:53", ("::1", 53)),
        ("10.0.0.1", ("10.0.0.1", 0)),
        ("fd00:10:244::2", ("fd00:10:244::2", 0)),
        ("[fd00::2]", ("fd00::2", 0)),
        ("", ("", 0)),
    ],
)
def test_an_endpoint_is_an_address_and_a_port(text: str, expected: tuple[str, int]) -> None:
    assert maths.split_endpoint(text) == expected


@given(st.integers(min_value=1, max_value=60))
def test_enough_dials_to_miss_no_backend_of_a_fair_service(backends: int) -> None:
    from conformance.plan import spread_dials  # noqa: PLC0415 - the claim belongs to the arithmetic

    missed = backends * (1 - 1 / backends) ** (2 * spread_dials(backends))
    assert missed < 1e-8
