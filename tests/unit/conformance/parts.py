"""What of a record is of one IP family, in the words of a lab of IPv4 alone; and a record with another such part.

So a change that is written for the lab of IPv4 alone can be made to either family of a lab that has both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from conformance.families import BOTH_TYPES, OF_A_FAMILY, subject
from harness.model.disturbed import Held, Removal, Repair, Restart, Rounds, Speed, Stream
from harness.model.family import Family, family_of_dial, family_of_proto, other
from harness.model.records import Burst, Churn, Dump, Exchange, Lookup, Observation, Packet, Rung, Tap
from tests.unit.conformance.twins import back, back_data, forth, forth_data, resized

EDGES: Final = {1450 + step - 20: 1450 + step for step in (-1, 0, 1)}
"""Sizes at the edge over IPv6, and where the edge is over IPv4."""

OF_NO_FAMILY: Final = frozenset(
    {
        "counters",
        "kernel",
        "moved",
        "dns",
        "resolv-conf",
        "inventory",
        "variant",
        "policy",
        "verbs",
        "netns",
        "machine",
        "kubelet",
        "node-join",
    }
)
"""Subjects of dumps that are seen with the primary family."""

WHOLE: Final = OF_NO_FAMILY | OF_A_FAMILY | {f"{what}6" for what in OF_A_FAMILY}
"""Subjects of dumps that no two families share."""

LINK_LOCAL: Final = {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"}
LOCAL_ROUTE: Final = {"dst": "fe80::/64", "dev": "eth0", "protocol": "kernel", "table": "main", "flags": []}


def _is_of(text: object, family: Family) -> bool:
    word = str(text)
    return not word.startswith("fe80") and family_of_dial(word) == family if word not in {"", "None"} else False


def _own_row(row: Mapping[str, Any], family: Family) -> bool:
    """A route, a neighbour, a forwarding entry or a sighting."""
    words = (row.get("dst"), row.get("gateway"), row.get("src"))
    return any(_is_of(word, family) for word in words if word and word != "default")


def _own_info(info: Mapping[str, Any], family: Family) -> bool:
    return info["family"] == {"ipv4": "inet", "ipv6": "inet6"}[family] and info.get("scope") != "link"


_DEVICES: Final[Mapping[Family, str]] = {"ipv4": "flannel.1", "ipv6": "flannel-v6.1"}


def nothing(what: str, data: Any) -> Any:  # noqa: PLR0911 - one per subject
    """What a kernel has before it has either family: links, their link-local addresses, and what they bring."""
    match what:
        case "addr":
            kept = [row for row in data if row["ifname"] not in _DEVICES.values()]
            return [row | {"addr_info": [] if row["ifname"] == "lo" else [LINK_LOCAL]} for row in kept]
        case "route":
            return [LOCAL_ROUTE]
        case "sandboxes":
            return [row | {"ip": "", "interfaces": []} for row in data]
        case "sysctl" | "leases" | "legacy-tables":
            return {}
        case "conf":
            return dict.fromkeys(data, "")
        case "node-objects":
            return {node: {} for node in data}
        case _:
            return []


def _take(one: Dump, family: Family) -> Any:  # noqa: PLR0911 - one per subject
    """A family's part of a dump's data, in the words of that family."""
    data = one.data
    match one.what:
        case "addr":
            rows = [row for row in data if row["ifname"] != _DEVICES[other(family)]]
            return [row | {"addr_info": [info for info in row["addr_info"] if _own_info(info, family)]} for row in rows]
        case "route" | "neigh" | "fdb" | "sightings" | "strays" | "node-loss":
            return [row for row in data if _own_row(row, family)]
        case "sysctl":
            foreign = {
                "ipv4": ("net.ipv6.", "net.bridge.bridge-nf-call-ip6"),
                "ipv6": ("net.ipv4.", "net.bridge.bridge-nf-call-ipt"),
            }
            return {key: value for key, value in data.items() if not key.startswith(foreign[family])}
        case "leases":
            return {key: value for key, value in data.items() if _is_of(key.rpartition("/")[2].rstrip("."), family)}
        case "legacy-tables":
            return {path: text for path, text in data.items() if ("/ip6_" in path) is (family == "ipv6")}
        case "sandboxes":
            return [_sandbox(row, family) for row in data]
        case "conf":
            return {path: _lines(text, family) for path, text in data.items()}
        case "node-objects":
            return {node: _notes(notes, family) for node, notes in data.items()}
        case _:
            return data


def _lines(text: str, family: Family) -> str:
    """Lines of flannel's subnet file; those that name no family are of IPv4."""
    return "".join(line for line in text.splitlines(keepends=True) if ("_IPV6_" in line) is (family == "ipv6"))


def _notes(notes: Mapping[str, str], family: Family) -> dict[str, str]:
    """Annotations of a node."""
    return {key: value for key, value in notes.items() if ("v6" in key) is (family == "ipv6")}


def _sandbox(row: Mapping[str, Any], family: Family) -> dict[str, Any]:
    found = [text for one in row["interfaces"] for text in one["addresses"] if _is_of(text.partition("/")[0], family)]
    alone = next(iter(found), "").partition("/")[0]
    ip = alone or (row["ip"] if _is_of(row["ip"], family) else "")
    return {**row, "ip": ip, "interfaces": [{"name": "eth0", "addresses": found}] if row["interfaces"] else []}


def put_data(one: Dump, part: Any, family: Family) -> Dump:
    """A dump with another part of a family.

    Args:
        one: The dump.
        part: As a lab of IPv4 alone has it.
        family: Which.
    """
    new = part if family == "ipv4" else forth_data(part)
    return one.model_copy(update={"data": _with(one, new, family)})


def _with(one: Dump, new: Any, family: Family) -> Any:  # noqa: PLR0911 - one per subject
    data = one.data
    match one.what:
        case "addr":
            return _links(data, new, family)
        case "route" | "neigh" | "fdb" | "sightings" | "strays" | "node-loss":
            return [*(row for row in data if not _own_row(row, family)), *new]
        case "sysctl" | "leases" | "legacy-tables":
            own = _take(one, family)
            kept = {key: value for key, value in data.items() if key not in own}
            return kept | {key: value for key, value in new.items() if family == "ipv4" or "rp_filter" not in key}
        case "conf":
            kept = {path: _lines(text, other(family)) for path, text in data.items()}
            return {path: kept.get(path, "") + _lines(text, family) for path, text in new.items()}
        case "node-objects":
            foreign = {node: _notes(notes, other(family)) for node, notes in data.items()}
            return {node: foreign.get(node, {}) | _notes(notes, family) for node, notes in new.items()}
        case "sandboxes":
            by_pod = {row["pod"]: row for row in data}
            return [_shared(by_pod[row["pod"]], row, family) for row in new]
        case _:
            return new


def _links(data: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], family: Family) -> list[Any]:
    """Links belong to no family: what the new part says of one is so; its addresses are of one."""
    before = {row["ifname"]: row for row in data}
    made = []
    for row in new:
        infos = before.get(row["ifname"], {}).get("addr_info", ())
        foreign = [info for info in infos if not _own_info(info, family)]
        made.append({**row, "addr_info": [*row["addr_info"], *foreign]})
    foreign_device = _DEVICES[other(family)]
    return [*made, *(row for row in data if row["ifname"] == foreign_device)]


def _shared(before: Mapping[str, Any], row: Mapping[str, Any], family: Family) -> dict[str, Any]:
    foreign = _sandbox(before, other(family))
    texts = [text for one in (*foreign["interfaces"], *row["interfaces"]) for text in one["addresses"]]
    first = row["ip"] if not foreign["ip"] or family == "ipv4" else foreign["ip"]
    interfaces = [{"name": "eth0", "addresses": texts}] if row["interfaces"] or foreign["interfaces"] else []
    return {**row, "ip": first, "interfaces": interfaces}


def part(one: Observation, family: Family, there: tuple[Family, ...]) -> Observation | None:
    """What of a record is of a family, as a lab of IPv4 alone would have it; None when nothing is."""
    if isinstance(one, Dump) and one.what in WHOLE:
        name = one.what.removesuffix("6")
        mine = one.what == subject(name, family) if name in OF_A_FAMILY else family == there[0]
        whole = back(one) if family == "ipv6" else one
        return whole.model_copy(update={"what": one.what.removesuffix("6")}) if mine else None
    if isinstance(one, Dump):
        data = _take(one, family)
        return one.model_copy(update={"data": back_data(data) if family == "ipv6" else data})
    own = _of_family(one, family)
    if own is None:
        return None
    return resized(back(own), EDGES) if family == "ipv6" else own


def _of_family(one: Observation, family: Family) -> Observation | None:
    match one:
        case Exchange() | Rung() | Burst() | Churn() | Stream() | Held() | Speed() | Repair():
            mine = family_of_proto(one.proto) if isinstance(one, Exchange) else one.family
            return one if mine == family else None
        case Lookup(qtype="A+AAAA"):
            return one.model_copy(update={"answers": tuple(text for text in one.answers if _is_of(text, family))})
        case Lookup():
            return one if one.family == family else None
        case Tap():
            return one.model_copy(
                update={"packets": tuple(packet for packet in one.packets if _packet(packet, family))}
            )
        case Restart() | Rounds() | Removal():
            return one
    return None


def _packet(packet: Packet, family: Family) -> bool:
    return family_of_dial((packet.inner or packet).src) == family


def put(one: Observation, new: Observation, family: Family) -> Observation:
    """A record with another part of a family.

    Args:
        one: The record.
        new: The part, as a lab of IPv4 alone would have it.
        family: Which.
    """
    if isinstance(one, Dump) and isinstance(new, Dump):
        if one.what in WHOLE:
            made = forth(new) if family == "ipv6" else new
            return made.model_copy(update={"what": one.what})
        return put_data(one, new.data, family)
    made = forth(resized(new, {wide: narrow for narrow, wide in EDGES.items()})) if family == "ipv6" else new
    if isinstance(one, Tap) and isinstance(made, Tap):
        kept = tuple(packet for packet in one.packets if not _packet(packet, family))
        return made.model_copy(update={"packets": (*kept, *made.packets)})
    if isinstance(one, Lookup) and isinstance(made, Lookup) and one.qtype == BOTH_TYPES:
        kept_answers = tuple(text for text in one.answers if not _is_of(text, family))
        told = {"outcome": made.outcome, "queries": made.queries}
        return one.model_copy(update={"answers": (*kept_answers, *made.answers), **told})
    return (
        made.model_copy(update={"server": one.server}) if isinstance(made, Lookup) and isinstance(one, Lookup) else made
    )
