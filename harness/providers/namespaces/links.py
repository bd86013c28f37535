"""The wires of a lab as `ip -batch` lines. Pure.

The fabric namespace holds a bridge for each network; every other machine's NIC is the far end of a veth pair that is
made from within the fabric, so that no link ever exists in the machine's own network namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.model import world
from harness.model.family import Address, Range
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
        addresses: With prefix length, that of the primary family first.
        mtu: Bytes.
    """

    machine: str
    name: str
    port: str
    bridge: str
    addresses: tuple[str, ...]
    mtu: int


def _interface(address: Address, network: Range) -> str:
    return f"{address}/{network.prefixlen}"


def _adding(address: str, device: str) -> str:
    """The line that gives a link an address: in IPv6 without a second's pause to ask whether somebody has it."""
    return f"addr add {address} dev {device}{' nodad' if ':' in address else ''}"


def nics(spec: LabSpec) -> list[Nic]:
    """All NICs of nodes and router."""
    under = spec.underlay
    gates = tuple(_interface(spec.router(family), under.range(family)) for family in spec.families)
    plan = [Nic(ROUTER, "eth0", "p-router", BRIDGE, gates, under.mtu)]
    for number, name in enumerate(spec.node_names, start=1):
        own = tuple(_interface(spec.node_address(name, family), under.range(family)) for family in spec.families)
        plan.append(Nic(name, spec.cluster_nic, f"p-{name}", BRIDGE, own, under.mtu))
        if under.dual_homed:
            address = _interface(under.management_cidr[10 + number], under.management_cidr)
            plan.append(Nic(name, "eth0", f"m-{name}", MANAGEMENT_BRIDGE, (address,), under.mtu))
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


def _configured(nic: Nic) -> list[str]:
    return [*(_adding(address, nic.name) for address in nic.addresses), f"link set {nic.name} up"]


def node_batch(spec: LabSpec, name: str) -> str:
    """Addresses and the default route of a node; run in the node."""
    own = sorted((nic for nic in nics(spec) if nic.machine == name), key=lambda nic: nic.name)
    lines = [line for nic in own for line in _configured(nic)]
    lines += [f"route add default via {spec.router(family)} dev {spec.cluster_nic}" for family in spec.families]
    return "\n".join(lines) + "\n"


def router_batch(spec: LabSpec, far_pid: int) -> str:
    """The router's addresses, and its link to the far host; run in the router.

    A bridge without ports stands in for a dummy link, which not every kernel has: it holds the addresses of the
    networks "behind" the router.
    """
    nic = next(nic for nic in nics(spec) if nic.machine == ROUTER)
    lines = [*_configured(nic), "link add world0 type bridge", "link set world0 up"]
    lines += [_adding(str(address), "world0") for family in spec.families for address in world.addresses(family)]
    lines.append(f"link add far0 mtu {world.FAR_MTU} type veth peer name eth0 mtu {world.FAR_MTU} netns {far_pid}")
    for family in spec.families:
        lines.append(_adding(_interface(world.far_router(family), world.far_link(family)), "far0"))
    lines.append("link set far0 up")
    return "\n".join(lines) + "\n"


def far_batch(spec: LabSpec) -> str:
    """The far host's addresses and default routes; run in the far host."""
    lines = [_adding(_interface(world.far_host(one), world.far_link(one)), "eth0") for one in spec.families]
    lines.append("link set eth0 up")
    lines += [f"route add default via {world.far_router(one)}" for one in spec.families]
    return "\n".join(lines) + "\n"
