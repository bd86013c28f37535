"""A place where commands of labs and of faults run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.runner import Runner


@dataclass(frozen=True)
class Spot:
    """One place.

    Args:
        name: `operator`, a node's or a pod's name: the key in `saved.<name>` of a step that runs in several places.
        label: For people: `node n1`, `pod labs/box-a`.
        runner: Runs programs there.
        facts: Variables that exist only there: `node`, `pod`.
    """

    name: str
    label: str
    runner: Runner = field(repr=False, compare=False)
    facts: Mapping[str, Any] = field(default_factory=dict)
