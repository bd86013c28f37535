"""bridge: what the program knows of it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.cni.bridge import nodes as bridge
from harness.cni.network import Network
from harness.model.node import Node
from harness.model.spec import LabSpec
from harness.model.variant import Variant


def configure(spec: LabSpec, variant: Variant, nodes: Sequence[Node], objects: Sequence[dict[str, Any]]) -> None:
    """Give every node its CNI configuration, routes to the others, and the masquerade rule.

    Args:
        spec: The lab.
        variant: Its network.
        nodes: Its nodes.
        objects: Their Node objects, each with its podCIDR.
    """
    names = [node["metadata"]["name"] for node in objects]
    peers = {name: bridge.peer(node, spec.all_addresses(name)) for name, node in zip(names, objects, strict=True)}

    def one(node: Node) -> None:
        for command in bridge.node_commands(spec, variant, peers[node.name], peers):
            node.runner.run(command.argv, input=command.stdin)

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, [node for node in nodes if node.name in peers]))


NETWORK = Network(configure=configure, footprint=bridge.FOOTPRINT)
