"""The shape of a lab, from its dumps. A pure function."""

from __future__ import annotations

from collections.abc import Iterable

from harness.model.records import Dump
from harness.model.spec import LabSpec
from harness.model.topology import Topology


def build(dumps: Iterable[Dump], spec: LabSpec) -> Topology:
    """Draw nodes, pods, links, routes and forwarding entries together.

    Args:
        dumps: From `kernel.dump` and `Inventory.dumps`, one of each place and kind; later ones win.
        spec: For address ranges and the node roles.
    """
    raise NotImplementedError
