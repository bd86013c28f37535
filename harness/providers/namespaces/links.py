"""The wires of a lab as `ip -batch` lines. Pure.

The fabric namespace holds a bridge for each network; every other machine's NIC is the far end of a veth pair that is
made from within the fabric, so that no link ever exists in the machine's own network namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from harness.model import world
from harness.model.spec import LabSpec

ROUTER = "router"
FAR = "far"
FABRIC = "fabric"
BRIDGE = "br0"
MANAGEMENT_BRIDGE = "br1"


@dataclass(frozen=True)
class Nic:
    """One NIC of a machine.

    Args:
        machine: Whose it is.
        name: Interface name in the machine.
        port: Interface name of the veth peer in the fabric.
        bridge: The bridge that the port belongs to.
        address: With prefix length.
        mtu: Bytes.
    """

    machine: str
    name: str
    port: str
    bridge: str
    address: IPv4Interface
    mtu: int


def _interface(address: IPv4Address, network: IPv4Network) -> IPv4Interface:
    return IPv4Interface(f"{address}/{network.prefixlen}")


def nics(spec: LabSpec) -> list[Nic]:
    """All NICs of nodes and router."""
    under = spec.underlay
    plan = [Nic(ROUTER, "eth0", "p-router", BRIDGE, _interface(spec.router_address, under.cidr), under.mtu)]
    for name in spec.node_names:
        plan.append(
            Nic(name, spec.cluster_nic, f"p-{name}", BRIDGE, _interface(spec.node_address(name), under.cidr), under.mtu)
        )
        if under.dual_homed:
            offset = int(spec.node_address(name)) - int(under.cidr.network_address)
            address = _interface(under.management_cidr[offset], under.management_cidr)
            plan.append(Nic(name, "eth0", f"m-{name}", MANAGEMENT_BRIDGE, address, under.mtu))
    return plan


def fabric_batch(spec: LabSpec, pids: Mapping[str, int]) -> str:
    """Bridges, and a veth pair from the fabric into every machine; run in the fabric.

    Args:
        spec: The lab.
        pids: Name of a machine to the PID of its init, as the caller sees it.
    """
    plan = nics(spec)
    lines: list[str] = []
    for bridge in sorted({nic.bridge for nic in plan}):
        lines += [
            f"link add {bridge} type bridge forward_delay 0 stp_state 0",
            f"link set {bridge} mtu {max(nic.mtu for nic in plan if nic.bridge == bridge)} up",
        ]
    for nic in plan:
        lines += [
            f"link add {nic.port} mtu {nic.mtu} type veth peer name {nic.name} mtu {nic.mtu} netns {pids[nic.machine]}",
            f"link set {nic.port} master {nic.bridge} up",
        ]
    return "\n".join(lines) + "\n"


def node_batch(spec: LabSpec, name: str) -> str:
    """Addresses and the default route of a node; run in the node."""
    own = sorted((nic for nic in nics(spec) if nic.machine == name), key=lambda nic: nic.name)
    lines = [line for nic in own for line in (f"addr add {nic.address} dev {nic.name}", f"link set {nic.name} up")]
    lines.append(f"route add default via {spec.router_address} dev {spec.cluster_nic}")
    return "\n".join(lines) + "\n"


def router_batch(spec: LabSpec, far_pid: int) -> str:
    """The router's addresses, and its link to the far host; run in the router.

    A bridge without ports stands in for a dummy link, which not every kernel has: it holds the addresses of the
    networks "behind" the router.
    """
    nic = next(nic for nic in nics(spec) if nic.machine == ROUTER)
    lines = [
        f"addr add {nic.address} dev {nic.name}",
        f"link set {nic.name} up",
        "link add world0 type bridge",
        "link set world0 up",
    ]
    lines += [f"addr add {address} dev world0" for address in (world.PUBLIC, world.NEIGHBOUR, *world.LOOPBACKS)]
    lines += [
        f"link add far0 mtu {world.FAR_MTU} type veth peer name eth0 mtu {world.FAR_MTU} netns {far_pid}",
        f"addr add {world.FAR_ROUTER}/{world.FAR_LINK.prefixlen} dev far0",
        "link set far0 up",
    ]
    return "\n".join(lines) + "\n"


def far_batch() -> str:
    """The far host's address and default route; run in the far host."""
    return (
        f"addr add {world.FAR_HOST}/{world.FAR_LINK.prefixlen} dev eth0\n"
        "link set eth0 up\n"
        f"route add default via {world.FAR_ROUTER}\n"
    )
