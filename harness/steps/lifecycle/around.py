"""What there is around a lab's nodes, and what can be done on them: labs and suite decide by it what makes sense."""

from __future__ import annotations

from harness.errors import CnilabError
from harness.model.node import Lab, Node


def around(lab: Lab) -> dict[str, bool]:
    """Gates that a lab's surroundings open: `router`, `far`, and `cap` where packets can be captured on nodes."""
    return {"router": lab.router is not None, "far": lab.far is not None, "cap": captures(lab.nodes[0])}


def captures(node: Node) -> bool:
    """Whether packets can be captured on a node: by its own tcpdump, which on some providers is this machine's."""
    try:
        return node.runner.run(["tcpdump", "--version"], check=False).ok
    except CnilabError:
        return False
