"""What pods ask of the outside world, and what it asks of them: the plans of B5. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from conformance.inventory import Inventory
from conformance.pairs import first_pods
from conformance.plan import Plan, both, to
from conformance.tables import sizes
from harness.model import world
from harness.model.family import Family
from harness.model.variant import Expectations
from harness.probes.plan import ExchangeProbe, Probe, RungProbe, Target

SOURCE_PORTS = range(20000, 30000)
"""Below the ephemeral ports of Linux: nothing else on a pod uses them."""


def egress(
    inventory: Inventory, expect: Expectations, gates: Mapping[str, bool], source_port: int = SOURCE_PORTS.start
) -> Plan:
    """B5: to the outside world, and what it sees.

    Args:
        inventory: What is there.
        expect: For the largest packet that a pod can send.
        gates: Their truth.
        source_port: All pods use it at once. A new one for every run: a connection that was closed keeps its port for
            a minute (TIME-WAIT, RFC 9293).
    """
    plan: Plan = defaultdict(list)
    if not gates.get("router"):
        return {}
    outside = Target("router", "", str(world.public(inventory.family)))
    for site in (*inventory.pods, *inventory.hosts):
        purpose = "egress" if site.kind == "pod" else "egress-node"
        plan[site.name] += [*both(outside, purpose), ExchangeProbe(outside, proto="icmp", purpose=purpose)]
    for pod in inventory.pods:
        plan[pod.name] += both(outside, "egress-port", source_port=source_port)
    for target in targets(inventory.family, gates):
        for site in (*inventory.pods, *inventory.hosts):
            plan[site.name] += both(target, "target" if site.kind == "pod" else "target-node")
    if gates.get("far"):
        far = Target("far", "", str(world.far_host(inventory.family)))
        largest = {node.name: expect.of(inventory.family).pod_mtu(node.mtu) for node in inventory.nodes}
        for pod in first_pods(inventory):
            plan[pod.name] += [
                ExchangeProbe(far, purpose="far-small", size=sizes().small),
                ExchangeProbe(far, purpose="pmtud", size=sizes().upload),
                RungProbe(far, largest[pod.node], expect="msgsize", purpose="pmtud"),
            ]
    return dict(plan)


def inbound(inventory: Inventory, *, routed: bool) -> Plan:
    """B5: the router dials pods that asked for nothing, and nodes at the same moment.

    Args:
        inventory: What is there.
        routed: It has been given routes to pods; until then nobody needs to answer.
    """
    if "router" not in inventory.by_name:
        return {}
    found: list[Probe] = []
    for pod in inventory.pods:
        if routed:
            found += both(to(pod), "inbound-routed")
        else:
            found += both(to(pod), "inbound", expect="unreachable")
    for host in inventory.hosts:
        found += [] if routed else both(to(host), "inbound-node")
    return {"router": found}


def targets(family: Family, gates: Mapping[str, bool]) -> tuple[Target, ...]:
    """Addresses outside, each of another range: a public one, one next door, and one behind a further router.

    Args:
        family: Of the addresses.
        gates: Their truth: the far host is not everywhere.
    """
    found = [("public", world.public(family)), ("neighbour", world.neighbour(family))]
    found += [("far", world.far_host(family))] if gates.get("far") else []
    return tuple(Target(name, "", str(address)) for name, address in found)
