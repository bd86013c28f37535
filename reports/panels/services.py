"""Services and the world outside: what was dialled, who answered, and whom they saw."""

from __future__ import annotations

from collections import Counter
from typing import Final

from harness.model.family import Family, family_of_proto, transport_of
from harness.model.records import Exchange
from reports import marks
from reports.addresses import Owners
from reports.families import families_of, named, own_address
from reports.model import Mark, ServiceRow, Services, Share
from reports.text import host_of, listing, natural, plural, unique

_SHOWN_SOURCES = 6
_PURPOSES: Final = {
    "vip": "a Service is reached",
    "hairpin": "a pod reaches itself through its Service",
    "spread": "all endpoints are used",
    "affinity": "one client keeps its endpoint",
    "no-endpoints": "a Service without endpoints refuses connections",
    "itp-local": "internal traffic stays on the node",
    "nodeport": "a node port, from outside",
    "etp-local": "external traffic stays on the node",
    "egress": "from pods",
    "egress-node": "from nodes",
    "egress-port": "all pods with the same source port",
    "far-small": "beyond a 1300-byte link",
    "pmtud": "an upload through a 1300-byte link",
}
"""What the suite's purposes mean to a reader; others are shown as they are."""

_OUTSIDE = ("router", "far")

Key = tuple[str, str, str, bool, Family]


def services(exchanges: list[Exchange], owners: Owners) -> Services | None:
    """Dials of Services and of the outside; None when there were none.

    Args:
        exchanges: All of the run.
        owners: Names for addresses.
    """
    inside: dict[Key, list[Exchange]] = {}
    outside: dict[Key, list[Exchange]] = {}
    for item in exchanges:
        to_world = item.dst in _OUTSIDE or item.batch == "B5"
        if item.batch != "B3" and not to_world:
            continue
        dial = host_of(item.dial) if to_world else item.dial
        family = family_of_proto(item.proto)
        key = (item.purpose, item.dst, dial, item.src_ip in owners.node_addresses, family)
        (outside if to_world else inside).setdefault(key, []).append(item)
    if not inside and not outside:
        return None
    order = list(_PURPOSES)
    both = families_of(key[4] for key in (*inside, *outside))

    def rank(key: Key) -> tuple[Family, int, str, bool]:
        return (key[4], order.index(key[0]) if key[0] in order else len(order), key[0], key[3])

    return Services(
        tuple(_row(key, inside[key], owners, both) for key in sorted(inside, key=rank)),
        tuple(_row(key, outside[key], owners, both) for key in sorted(outside, key=rank)),
    )


def _row(key: Key, found: list[Exchange], owners: Owners, both: tuple[Family, ...]) -> ServiceRow:
    purpose, dst, dial, _, family = key
    tokens = Counter(item.token for item in found if item.token)
    seen = unique(_seen_as(item, owners) for item in found if item.peer and not item.proto.startswith("icmp"))
    return ServiceRow(
        purpose=_PURPOSES.get(purpose, purpose.replace("-", " ")),
        name=dst,
        target=dial,
        proto=listing(unique(transport_of(item.proto) if both else item.proto for item in found)),
        sources=_sources(unique(item.src for item in found)),
        mark=_mark(found),
        dials=len(found),
        answered=tuple(
            Share(name, count, owners.node_of_pod.get(name.rpartition("/")[2], ""))
            for name, count in sorted(tokens.items(), key=lambda item: natural(item[0]))
        ),
        seen_as=listing(seen[:3]) + (f" and {len(seen) - 3} more" if len(seen) > 3 else ""),
        detail=_detail(found),
        family=named(family, both),
    )


def _sources(names: list[str]) -> str:
    if len(names) <= _SHOWN_SOURCES:
        return listing(names)
    return plural(len(names), "place")


def _seen_as(item: Exchange, owners: Owners) -> str:
    address = host_of(item.peer)
    if address == own_address(item):
        return "its own address"
    owner = owners.classify(address)
    if owner == f"node {item.src_node}":
        return "its node's address"
    return f"{address} ({owner})" if owner else address


def _mark(found: list[Exchange]) -> Mark:
    """These dials have many purposes, and some must fail: the colour tells what happened, the verdict is above."""
    outcomes = {item.outcome for item in found}
    if outcomes == {"ok"}:
        return marks.UNSTEADY if any(item.attempts > 1 for item in found) else Mark("good", "✓", "answered")
    if "ok" not in outcomes:
        return Mark("note", "⊘", "not answered")
    return Mark("note", "◐", "answered partially")


def _detail(found: list[Exchange]) -> str:
    """Outcomes that are not `ok`, with their number."""
    outcomes = Counter(item.outcome for item in found if item.outcome != "ok")
    return ", ".join(f"{count} × {outcome}" for outcome, count in sorted(outcomes.items()))
