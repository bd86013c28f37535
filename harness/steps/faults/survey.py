"""Which faults a cluster can show: asked of its nodes and its API, with nothing deployed or changed."""

from __future__ import annotations

from conformance.context import Context
from conformance.inventory import Inventory, NodeFact, Site
from harness.probes import kernel_state
from harness.probes.sandboxes import Sandboxes
from harness.steps.lifecycle.attach import Attached
from harness.steps.suite.deploy import kernel_limits, node_facts, surroundings

SUBJECTS = ("sysctl", "rules-iptables", "rules-iptables6")
"""All that situations read of nodes."""


def survey(attached: Attached) -> Context:
    """What preconditions of faults are held against.

    The suite's pods may not be there. Two that are made up stand in for them: a filter of a node does not know a pod by
    its address.

    Args:
        attached: The cluster.

    Raises:
        BringUpError: The API does not answer.
    """
    lab, spec = attached.lab, attached.spec
    nodes = node_facts(attached, {})
    # Whoever injects faults lets the cluster be disturbed.
    environment = {**surroundings(attached), "dis": True, "neigh": bool(kernel_limits(lab.nodes[0]))}
    sites = (_stand_in(attached, "a", nodes[0], 10), _stand_in(attached, "z", nodes[-1], -10))
    inventory = Inventory(families=spec.families, nodes=nodes, sites=sites, environment=environment)
    dumps = kernel_state.dump(lab, Sandboxes(lab.nodes, ()), pods=False, only=SUBJECTS, ipv6="ipv6" in spec.families)
    return Context(spec, attached.variant, inventory, tuple(dumps))


def _stand_in(attached: Attached, name: str, node: NodeFact, at: int) -> Site:
    """A pod that a node could have, with an address of each family.

    Args:
        attached: The cluster.
        name: Of the pod.
        node: The node.
        at: Which address of the cluster CIDR; negative from its end.
    """
    ranges = [attached.spec.pods.range(family) for family in attached.spec.families]
    ips = tuple(str(pods[at % pods.num_addresses]) for pods in ranges)
    return Site(name=name, kind="pod", node=node.name, ip=ips[0], ips=ips, api_ips=ips)
