"""What eBPF a node runs: programs by interface, programs for sockets, entries of maps, counters of verdicts.

Everything is read with bpftool in the node's own namespaces, so another node's programs are not seen.
"""

from __future__ import annotations

import json
from typing import Any

from harness.model.datapath import Datapath
from harness.model.node import Node
from harness.model.records import Dump

_DIRECTIONS = {1: "ingress", 2: "egress", 3: "service"}


def observe_datapath(node: Node, datapath: Datapath, *, batch: str, when: str) -> Dump:
    """Read a node's eBPF.

    Args:
        node: Which.
        datapath: Where to look.
        batch: As the observation will say.
        when: `before` or `after` the batch's traffic.
    """
    attached = _read(node, "net", "show")
    data = {
        "programs": attached[0].get("tc", []) + attached[0].get("xdp", []) if attached else [],
        "sockets": _read(node, "cgroup", "show", datapath.cgroup),
        "maps": {
            label: len(_read(node, "map", "dump", "pinned", f"{datapath.pins}/{name}"))
            for label, name in datapath.maps.items()
        },
        "verdicts": verdicts(_read(node, "map", "dump", "pinned", f"{datapath.pins}/{datapath.counters}"), datapath),
    }
    command = f"bpftool net show; bpftool map dump pinned {datapath.pins}/{datapath.counters}"
    return Dump(
        batch=batch,
        vantage="node",
        place=node.name,
        node=node.name,
        what=f"datapath-{when}",
        data=data,
        command=command,
    )


def _read(node: Node, *words: str) -> list[dict[str, Any]]:
    """What bpftool says; nothing when the node has no such map or group."""
    done = node.runner.run(["bpftool", "-j", *words], check=False)
    try:
        found = json.loads(done.stdout)
    except json.JSONDecodeError:
        return []
    return found if isinstance(found, list) else []


def verdicts(entries: list[dict[str, Any]], datapath: Datapath) -> list[dict[str, Any]]:
    """Counters of verdicts, summed over processors and over all sources of one reason and direction.

    Args:
        entries: The map as bpftool prints it.
        datapath: Gives reasons their names.
    """
    sums: dict[tuple[int, int], int] = {}
    for entry in entries:
        reason, direction = (int(byte, 16) for byte in entry["key"][:2])
        packets = sum(_number(one["value"][:8]) for one in entry.get("values", ()))
        sums[reason, direction & 3] = sums.get((reason, direction & 3), 0) + packets
    return [
        {
            "reason": datapath.reasons.get(reason, f"dropped, reason {reason}"),
            "direction": _DIRECTIONS.get(direction, str(direction)),
            "packets": packets,
        }
        for (reason, direction), packets in sorted(sums.items())
    ]


def _number(words: list[str]) -> int:
    """A little-endian number, as bpftool prints its bytes."""
    return int.from_bytes(bytes(int(word, 16) for word in words), "little")
