"""Who asks whom: pairs of sites, linear in sites wherever possible. Pure: plans and judges have the same ones."""

from __future__ import annotations

import random

from conformance.inventory import Inventory, Site

Pair = tuple[Site, Site]

FULL_MESH = 64
"""Up to so many pods every ordered pair is probed."""

PARTNERS = 16
"""Above it, every pod dials so many pods on other nodes, and is dialled by as many."""


def mesh_pairs(inventory: Inventory, *, cross: bool, seed: int = 1) -> tuple[Pair, ...]:
    """Ordered pairs of pods: all of them in small clusters, a seeded block-circulant sample in large ones.

    Args:
        inventory: What is there.
        cross: Pairs on different nodes, or on the same.
        seed: Rotates the sample between runs; the same seed gives the same pairs.
    """
    pods = inventory.pods
    if not cross:
        return tuple((src, dst) for src in pods for dst in inventory.on(src.node) if src.name != dst.name)
    if len(pods) <= FULL_MESH:
        return tuple((src, dst) for src in pods for dst in pods if src.node != dst.node)
    return _circulant(inventory, seed)


def _circulant(inventory: Inventory, seed: int) -> tuple[Pair, ...]:
    """Each pod of node n in slot s dials pods on nodes n + d(s, j): every ordered node pair is hit."""
    nodes = [node.name for node in inventory.nodes if inventory.on(node.name)]
    chosen: list[Pair] = []
    generator = random.Random(seed)  # noqa: S311 - a reproducible sample, not a secret
    wanted = max(PARTNERS, -(-len(nodes) * (len(nodes) - 1) // len(inventory.pods)))
    for number, name in enumerate(nodes):
        local = inventory.on(name)
        for slot, src in enumerate(local):
            for step in range(wanted):
                distance = 1 + (slot * wanted + step + seed) % (len(nodes) - 1)
                remote = inventory.on(nodes[(number + distance) % len(nodes)])
                chosen.append((src, remote[(slot + generator.randrange(len(remote))) % len(remote)]))
    return tuple(dict.fromkeys(chosen))


def first_pods(inventory: Inventory) -> tuple[Site, ...]:
    """The first pod of each node, in the order of the nodes."""
    found = [inventory.on(node.name) for node in inventory.nodes]
    return tuple(pods[0] for pods in found if pods)


def node_pairs(inventory: Inventory) -> tuple[Pair, ...]:
    """One ordered pair of pods per ordered pair of nodes."""
    chosen = first_pods(inventory)
    return tuple((src, dst) for src in chosen for dst in chosen if src.node != dst.node)


def setup_pairs(inventory: Inventory) -> tuple[Pair, ...]:
    """Pairs for how connections are set up: one for each way between two nodes, and on a node, of pods and nodes.

    No pair is one of two nodes alone: that path has no part of the network.
    """
    chosen = first_pods(inventory)
    local = [inventory.on(node.name)[:2] for node in inventory.nodes]
    return (
        *node_pairs(inventory),
        *((pods[0], pods[1]) for pods in local if len(pods) > 1),
        *((host, pod) for host in inventory.hosts for pod in chosen),
        *((pod, host) for host in inventory.hosts for pod in chosen),
    )


def ladder_pairs(inventory: Inventory) -> tuple[Pair, ...]:
    """Pairs for packet sizes: one per node pair, and one on each node with two pods."""
    local = [inventory.on(node.name)[:2] for node in inventory.nodes]
    return node_pairs(inventory) + tuple((pods[0], pods[1]) for pods in local if len(pods) > 1)


def movers(inventory: Inventory) -> tuple[Site, Site, Site] | None:
    """Client, and two pods between which a Service moves: on different nodes where there are several."""
    pods = inventory.pods
    return (pods[1], pods[0], pods[-1]) if len(pods) > 2 else None
