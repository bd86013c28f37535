from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.family import Family, IpFamily
from harness.model.spec import LabSpec, Underlay
from harness.providers.namespaces import links

PIDS = {"n1": 101, "n2": 102, "router": 103, "far": 104}


@pytest.mark.parametrize(("families", "name"), [("ipv4", "wires"), ("dual", "wires-dual"), ("ipv6", "wires-ipv6")])
def test_wires_of_a_two_node_lab_are_as_recorded(
    families: IpFamily, name: str, golden: Callable[[str, str], None]
) -> None:
    spec = LabSpec(ip_family=families)
    text = "# fabric\n" + links.fabric_batch(spec, PIDS)
    for node in spec.node_names:
        text += f"# {node}\n" + links.node_batch(spec, node)
    text += "# router\n" + links.router_batch(spec, PIDS["far"]) + "# far\n" + links.far_batch(spec)
    golden(f"providers/{name}.txt", text)


def test_dual_homed_nodes_have_a_nic_in_each_network_and_route_through_the_clusters() -> None:
    spec = LabSpec(underlay=Underlay(dual_homed=True))
    lines = links.node_batch(spec, "n2").splitlines()
    assert "addr add 10.0.2.12/24 dev eth0" in lines
    assert "addr add 172.18.0.12/16 dev eth1" in lines
    assert lines[-1] == "route add default via 172.18.0.1 dev eth1"


@given(
    nodes=st.integers(1, 20),
    mtu=st.integers(1280, 65535),
    prefix=st.integers(16, 26),
    dual=st.booleans(),
    primary=st.sampled_from(["ipv4", "ipv6"]),
)
def test_every_nic_has_its_own_address_in_its_network_and_the_mtu_of_the_underlay(
    nodes: int, mtu: int, prefix: int, dual: bool, primary: Family
) -> None:
    cidr, cidr6 = IPv4Network(f"172.18.0.0/{prefix}"), IPv6Network("fd00:172:18::/64")
    underlay = Underlay(cidr=cidr, cidr6=cidr6, mtu=mtu, dual_homed=dual)
    spec = LabSpec(nodes=nodes, ip_family="dual", primary_family=primary, underlay=underlay)
    plan = links.nics(spec)
    addresses = [ip_interface(address) for nic in plan for address in nic.addresses]
    assert len({address.ip for address in addresses}) == len(addresses) == 2 + nodes * (2 + dual)
    assert len(plan) == 1 + nodes * (1 + dual)
    assert len({nic.port for nic in plan}) == len(plan)
    assert all(len(nic.port) <= 15 for nic in plan), "IFNAMSIZ"
    assert all(nic.mtu == mtu for nic in plan)
    for nic in plan:
        networks = spec.underlay_cidrs if nic.bridge == links.BRIDGE else (spec.underlay.management_cidr,)
        assert tuple(ip_interface(address).network for address in nic.addresses) == networks
    for address in addresses:
        assert address.ip not in {address.network.network_address, address.network.broadcast_address}
    assert ip_interface(plan[0].addresses[0]).ip == spec.router_address
