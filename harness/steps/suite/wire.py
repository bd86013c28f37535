"""The few packets that taps follow: at both pods, and on the underlay of their nodes."""

from __future__ import annotations

from pathlib import Path

from conformance import pairs, plan
from conformance.families import planned
from conformance.inventory import Inventory
from harness.model.records import Observation
from harness.probes.capture import TapPoint, listen
from harness.runner import CommandError
from harness.steps.suite.deploy import Suite
from harness.steps.suite.inbound import Look


def captured(suite: Suite, run: Path, look: Look) -> list[Observation]:
    """Send packets between the first pods of two nodes while taps listen on their way.

    Args:
        suite: The deployed suite.
        run: Run directory, for captures.
        look: Runs a plan.
    """
    src, dst = pairs.node_pairs(suite.inventory)[0]

    def asked(there: Inventory) -> plan.Plan:
        one, other = there.by_name[src.name], there.by_name[dst.name]
        return plan.wire(one, other, plan.path_mtu(there, suite.attached.variant.expect, one, other))

    nic = suite.attached.spec.cluster_nic
    points = []
    hosts = " or ".join(f"host {address}" for site in (src, dst) for address in site.ips or (site.ip,))
    nodes = [suite.inventory.node(site.node) for site in (src, dst)]
    ends = [" and ".join(f"host {node.address_of(family)}" for node in nodes) for family in suite.inventory.families]
    underlay = ends[0] if len(ends) == 1 else f"({' or '.join(f'({pair})' for pair in ends)})"
    for site in (src, dst):
        runner = suite.sandboxes.netns_runner(suite.sandboxes.find(site.namespace, site.pod))
        points.append(TapPoint(site.node, site.name, "eth0", runner, hosts))
    for site in (src, dst):
        node = suite.sandboxes.node(site.node)
        overlay = suite.attached.variant.expect.wire
        tunnel = f"({underlay} and udp port {overlay.port})" if overlay.port else f"({underlay} and (udp or esp))"
        points.insert(-1, TapPoint(site.node, site.node, nic, node.runner, f"{hosts} or {tunnel}"))
    try:
        with listen(points, flow=f"{src.name}<>{dst.name}", batch="B2", run=run, name="cross-node") as taps:
            seen = look(planned(suite.inventory, asked))
    except CommandError:
        return []  # an interface that is down has no tap; judges of captures then have nothing, and say so
    return [*seen, *taps.stop()]
