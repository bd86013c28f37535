"""What a fault cannot reach, so that looking at it again would show the same: proved, or looked at. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from conformance.batches import Batch
from conformance.context import Context
from conformance.model import Check
from harness.faults.model import Fault

TABLE: Final = ("inet", "kfault")
"""The table that a fault's rules of packet filtering are in, and nothing else."""

POD: Final = re.compile(r"[a-m]|[x-z]/[a-m]")
"""A place in a pod; nodes are n1, n2 and so on."""

PLUGINS: Final[Batch] = "B7"
"""The plugins of nodes, called directly: the slowest batch."""


def can_fail(check: Check, context: Context) -> bool:
    """A check can be red here: its gates are open, and neither its level nor a declared deviation forbids it.

    What is only recorded (level R) and what is declared not to hold is never `fail`: `conformance.judging.roll_up`.

    Args:
        check: The check.
        context: A run on the lab.
    """
    return check.applies(context.gates) and check.level != "R" and check.id not in context.deviations


def aloof(fault: Fault) -> bool:
    """All that a fault does is out of reach of the plugins of nodes.

    Either it adds rules to a table of its own, which see packets and change no other state; or it is done in a pod.
    """
    changes = [action for action in fault.inject if not action.keep]
    ours = all(_rule(action.run) or POD.fullmatch(action.at) is not None for action in changes)
    own = all(POD.fullmatch(word.partition(":")[0]) for word in fault.state)
    return bool(changes) and ours and own and not fault.stop


def _rule(words: Sequence[str]) -> bool:
    return words[0] == "nft" and words[1] == "add" and tuple(words[3:5]) == TABLE


def beyond(fault: Fault, checks: Iterable[Check]) -> list[Check]:
    """Checks that a fault cannot reach.

    Plugins are called in namespaces that no pod has. They ask the kernel (netlink) and files of their node, or an agent
    over a socket of the node's file system, and judges compare their answers with the kernel's state. No packet of an
    IP network is sent for that, and no pod is looked at. So neither rules that only see packets nor the inside of a pod
    change what these checks say.

    Args:
        fault: The fault.
        checks: Checks that it does not name.
    """
    if not aloof(fault):
        return []
    return [check for check in checks if set(check.batches) <= {PLUGINS, "B0"} and PLUGINS in check.batches]
