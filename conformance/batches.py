"""What is observed together, and in which order."""

from __future__ import annotations

from typing import Literal

Batch = Literal["B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9"]
"""When a requirement's observations are made: B0 dumps, B1 mesh, B2 sizes, B3 Services, B4 DNS, B5 egress, B6 policies,
B7 CNI, B8 disturbances, B9 the network's removal."""

BATCHES: tuple[Batch, ...] = ("B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9")

DISTURBING: frozenset[Batch] = frozenset({"B8", "B9"})
"""Those that change the cluster while they look, and put back what they changed: only where that was asked for."""
