"""The eBPF datapath: which program is where, and what traffic between pods does to maps and counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.model.records import Dump, Observation
from reports.model.datapath import CountRow, DatapathNode, ProgramRow
from reports.text import natural


def datapath(observations: list[Observation]) -> tuple[DatapathNode, ...]:
    """One panel per node whose eBPF was looked at; empty where there is none.

    Args:
        observations: All of the run.
    """
    dumps = [one for one in observations if isinstance(one, Dump) and one.what.startswith("datapath-")]
    before = {one.place: one for one in dumps if one.what == "datapath-before"}
    after = {one.place: one for one in dumps if one.what == "datapath-after"}
    return tuple(_node(before[name], after[name]) for name in sorted(before.keys() & after.keys(), key=natural))


def _node(before: Dump, after: Dump) -> DatapathNode:
    old, new = before.data or {}, after.data or {}
    return DatapathNode(
        name=after.place,
        programs=_programs(new),
        maps=tuple(
            CountRow(name, old.get("maps", {}).get(name, 0), count) for name, count in new.get("maps", {}).items()
        ),
        verdicts=_verdicts(old, new),
        command=after.command,
    )


def _programs(data: Mapping[str, Any]) -> tuple[ProgramRow, ...]:
    places: dict[tuple[str, str], list[str]] = {}
    for one in data.get("programs", ()):
        device = str(one.get("devname", ""))
        name = str(one.get("name", "")).removesuffix(f"-{device}")
        places.setdefault((name, str(one.get("kind", one.get("mode", "")))), []).append(device)
    for one in data.get("sockets", ()):
        places.setdefault((str(one.get("name", "")), str(one.get("attach_type", ""))), [])
    return tuple(ProgramRow(name, hook, tuple(found)) for (name, hook), found in sorted(places.items()))


def _verdicts(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[CountRow, ...]:
    def counted(data: Mapping[str, Any]) -> dict[str, int]:
        return {f"{one['reason']}, {one['direction']}": one["packets"] for one in data.get("verdicts", ())}

    earlier = counted(old)
    return tuple(CountRow(what, earlier.get(what, 0), packets) for what, packets in counted(new).items())
