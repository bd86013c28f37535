from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from harness.model.spec import LabSpec, Underlay
from harness.providers.namespaces import links

PIDS = {"n1": 101, "n2": 102, "router": 103, "far": 104}


def test_wires_of_a_two_node_lab_are_as_recorded(golden: Callable[[str, str], None]) -> None:
    spec = LabSpec()
    text = "# fabric\n" + links.fabric_batch(spec, PIDS)
    for name in spec.node_names:
        text += f"# {name}\n" + links.node_batch(spec, name)
    text += "# router\n" + links.router_batch(spec, PIDS["far"]) + "# far\n" + links.far_batch()
    golden("providers/wires.txt", text)


def test_dual_homed_nodes_have_a_nic_in_each_network_and_route_through_the_clusters() -> None:
    spec = LabSpec(underlay=Underlay(dual_homed=True))
    lines = links.node_batch(spec, "n2").splitlines()
    assert "addr add 10.0.2.12/24 dev eth0" in lines
    assert "addr add 172.18.0.12/16 dev eth1" in lines
    assert lines[-1] == "route add default via 172.18.0.1 dev eth1"


@given(
    nodes=st.integers(1, 20),
    mtu=st.integers(576, 65535),
    prefix=st.integers(16, 26),
    dual=st.booleans(),
)
def test_every_nic_has_its_own_address_in_its_network_and_the_mtu_of_the_underlay(
    nodes: int, mtu: int, prefix: int, dual: bool
) -> None:
    cidr = IPv4Network(f"172.18.0.0/{prefix}")
    spec = LabSpec(nodes=nodes, underlay=Underlay(cidr=cidr, mtu=mtu, dual_homed=dual))
    plan = links.nics(spec)
    assert len({nic.address.ip for nic in plan}) == len(plan) == 1 + nodes * (1 + dual)
    assert len({nic.port for nic in plan}) == len(plan)
    assert all(len(nic.port) <= 15 for nic in plan), "IFNAMSIZ"
    assert all(nic.mtu == mtu for nic in plan)
    for nic in plan:
        network = cidr if nic.bridge == links.BRIDGE else spec.underlay.management_cidr
        assert nic.address.network == network
        assert nic.address.ip not in {network.network_address, network.broadcast_address}
    assert plan[0].address.ip == spec.router_address
