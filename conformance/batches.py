"""What is observed together, and in which order."""

from __future__ import annotations

from typing import Literal

Batch = Literal["B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7"]
"""When a requirement's observations are made: B0 dumps, B1 mesh, B2 sizes, B3 Services, B4 DNS, B5 egress, B6 policies,
B7 CNI."""

BATCHES: tuple[Batch, ...] = ("B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7")
