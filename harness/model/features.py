"""What a cluster can do, for whoever asks: the suite's checks, faults and labs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.model.variant import Variant

VANTAGES: Final = ("node", "hosts", "known", "ranges", "neigh", "verbs", "slices", "policies", "api")
"""Gates of what can be looked at and tried; a lab of our own has them all, a cluster of others perhaps not."""


def gates(variant: Variant, nodes: int, around: Mapping[str, bool]) -> dict[str, bool]:
    """Truth of every gate: the cluster decides some, its variant declares the rest.

    Args:
        variant: The network.
        nodes: How many there are.
        around: What was found of the cluster: `router`, `cap`, and others that differ from what is usual.
    """
    truth = dict.fromkeys((*variant.gates, *VANTAGES), True)
    truth["multi"] = nodes > 1
    truth["nonp"] = not truth.get("np", False)
    return truth | dict(around)
