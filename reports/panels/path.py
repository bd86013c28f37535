"""One packet, tap by tap: what it looked like at every place it passed, and what changed in between."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from harness.model.family import FAMILIES, TITLE, Family, family_of_dial
from harness.model.records import Packet, Tap
from reports.addresses import Owners
from reports.model import FieldCell, Hop, PacketPath, PathSide
from reports.panels.decode import decode
from reports.text import Ids, micros, natural, plural

Direction = Literal["request", "reply"]

_MOST_PATHS = 6


@dataclass(frozen=True)
class _Seen:
    """A packet at a tap; the packet is None when the tap did not see it."""

    tap: Tap
    packet: Packet | None


def paths(taps: list[Tap], owners: Owners, ids: Ids) -> tuple[PacketPath, ...]:
    """All traced flows, those between pods of different nodes first.

    Args:
        taps: All captures of the run. Of a flow that was traced more than once, the set with the most taps is shown.
        owners: Names for addresses.
        ids: Gives `path-a-c`.
    """
    sets: dict[tuple[str, str], dict[int, Tap]] = {}
    for tap in taps:
        sets.setdefault((tap.flow, tap.batch), {})[tap.order] = tap
    best: dict[tuple[str, ...], tuple[str, list[Tap]]] = {}
    for (flow, _), members in sets.items():
        found = [members[order] for order in sorted(members)]
        key = ends(flow) or (flow,)
        if key not in best or len(found) > len(best[key][1]):
            best[key] = (flow, found)

    def rank(item: tuple[str, list[Tap]]) -> tuple[bool, int, tuple[tuple[int, int, str], ...]]:
        between_pods = all(name in owners.node_of_pod for name in ends(item[0]) or ("",))
        return not between_pods, -len({tap.node for tap in item[1]}), natural(item[0])

    ordered = sorted(best.values(), key=rank)
    shown = (
        _path(flow, members, owners, ids, family, both=len(seen) > 1)
        for flow, members in ordered
        for seen in [_families(members)]
        for family in seen
    )
    return tuple(path for path in shown if path is not None)[:_MOST_PATHS]


def ends(flow: str) -> tuple[str, str] | None:
    """The names in `a>c icmp` or `a<>c`; None when the flow is not called like that."""
    src, arrow, dst = flow.split(" ", maxsplit=1)[0].partition(">")
    src = src.removesuffix("<")
    return (src, dst) if arrow and src and dst else None


def _families(taps: list[Tap]) -> tuple[Family, ...]:
    """Families of the echoes and handshakes that were seen; IPv4 when there were none."""
    there = {family_of_dial(innermost(packet).src) for tap in taps for packet in tap.packets if _kinds(packet)}
    return tuple(family for family in FAMILIES if family in there) or FAMILIES[:1]


def innermost(packet: Packet) -> Packet:
    """What the pods exchange, whatever it is wrapped in."""
    return innermost(packet.inner) if packet.inner is not None else packet


def _kinds(packet: Packet) -> tuple[str, Direction] | None:
    """An echo or a handshake, and which half of it; None for any other packet."""
    inner = innermost(packet)
    request, reply = (128, 129) if inner.proto == "icmp6" else (8, 0)
    if inner.icmp_type in (request, reply):
        return "icmp", "request" if inner.icmp_type == request else "reply"
    if "S" in inner.tcp_flags:
        return "tcp", "reply" if "A" in inner.tcp_flags or "." in inner.tcp_flags else "request"
    return None


def _chosen(taps: list[Tap], sender: str, family: Family) -> Packet | None:
    """The packet to follow: the sender's first echo request, else the first of its handshakes.

    Where the sender's address is not known, its packets are those that have the highest TTL at the first tap.
    """
    for kind in ("icmp", "tcp"):
        for tap in taps:
            found = [innermost(packet) for packet in tap.packets if _kinds(packet) == (kind, "request")]
            found = [one for one in found if sender in ("", one.src) and family_of_dial(one.src) == family]
            if found:
                return max(found, key=lambda packet: packet.ttl)
    return None


def _follow(taps: list[Tap], chosen: Packet, direction: Direction) -> list[_Seen]:
    """The same packet, or the answer to it, at every tap."""
    return [_Seen(tap, next((one for one in tap.packets if _same(one, chosen, direction)), None)) for tap in taps]


def _same(packet: Packet, chosen: Packet, direction: Direction) -> bool:
    """Is this the chosen packet, or the answer to it, though addresses may have been translated on the way?"""
    inner = innermost(packet)
    kind = "icmp" if inner.proto == "icmp6" else inner.proto
    if _kinds(packet) != (kind, direction) or inner.proto != chosen.proto:
        return False
    if kind == "icmp":
        one, other = (inner.src, inner.dst) if direction == "request" else (inner.dst, inner.src)
        same_id = inner.icmp_id is not None and inner.icmp_id == chosen.icmp_id
        return inner.icmp_seq == chosen.icmp_seq and (same_id or one == chosen.src or other == chosen.dst)
    ports = {inner.src_port, inner.dst_port}
    return chosen.src_port in ports and chosen.dst_port in ports


def _path(flow: str, taps: list[Tap], owners: Owners, ids: Ids, family: Family, *, both: bool) -> PacketPath | None:
    pair = ends(flow)
    chosen = _chosen(taps, owners.address_of(pair[0], family) if pair else "", family)
    if chosen is None:
        return None
    there, back = _follow(taps, chosen, "request"), _follow(taps[::-1], chosen, "reply")
    six = family == "ipv6"
    anchor = ids.new("path", *(pair or (flow,)), *(("ipv6",) if six else ()))
    title = (f"{pair[0]} → {pair[1]}" if pair else flow) + (f" over {TITLE[family]}" if both else "")
    limit = "Hop limit" if six else "TTL"
    sides = [_side("There", there, owners, ids, anchor, limit)]
    if any(seen.packet for seen in back):
        sides.append(_side("The way back", back, owners, ids, anchor, limit))
    wire = _on_the_wire(there)
    return PacketPath(
        anchor=anchor,
        title=title,
        flow={"icmp": "ICMP echo", "icmp6": "ICMPv6 echo"}.get(chosen.proto, "TCP handshake"),
        ends=pair or (),
        sentence=_sentence(there, back),
        sides=tuple(sides),
        decoded=decode(wire.packet, f"{wire.tap.place} {wire.tap.interface}", owners) if wire and wire.packet else None,
    )


def _on_the_wire(there: list[_Seen]) -> _Seen | None:
    """Where the packet is worth taking apart: wrapped, or else about to leave its node."""
    seen = [one for one in there if one.packet is not None]
    for one in seen:
        if one.packet is not None and one.packet.inner is not None:
            return one
    for one, after in pairwise(seen):
        if one.tap.node != after.tap.node:
            return one
    return seen[-1] if seen else None


def _sentence(there: list[_Seen], back: list[_Seen]) -> str:
    packets = [seen.packet for seen in there if seen.packet]
    missing = [seen for seen in there if seen.packet is None]
    first, last = innermost(packets[0]), innermost(packets[-1])
    echo = "An ICMPv6 echo request" if first.proto == "icmp6" else "An ICMP echo request"
    kind = echo if first.icmp_type is not None else "The first packet"
    limit = "hop limit" if ":" in first.src else "TTL"
    text = f"{kind} from {first.src} to {first.dst} at {plural(len(there), 'tap')}"
    text += f", {limit} {first.ttl} at the first and {last.ttl} at the last"
    if missing:
        text += f"; {plural(len(missing), 'tap')} did not see it"
    elif (first.src, first.dst) == (last.src, last.dst):
        text += "; no address was translated on the way"
    else:
        text += f"; it arrived as {last.src} → {last.dst}"
    if not any(seen.packet for seen in back):
        text += "; no answer was seen"
    return text + "."


def _side(title: str, seen: list[_Seen], owners: Owners, ids: Ids, anchor: str, limit: str) -> PathSide:
    start = min((one.packet.t_us for one in seen if one.packet), default=0)
    hops: list[Hop] = []
    before: Packet | None = None
    last = ""
    for one in seen:
        hops.append(_hop(one, before, start, owners, ids.new(anchor, "hop")))
        if one.packet is not None:
            before = one.packet
            last = f"{one.tap.place} {one.tap.interface}"
    return PathSide(title, tuple(hops), last if seen[-1].packet is None else "", limit)


def _hop(one: _Seen, before: Packet | None, start: int, owners: Owners, anchor: str) -> Hop:
    tap, packet = one.tap, one.packet
    empty = FieldCell("")
    common = {
        "anchor": anchor,
        "place": tap.place if tap.place in (tap.node, "") else f"pod {tap.place}",
        "interface": tap.interface,
        "command": tap.command,
        "pcap": tap.pcap,
    }
    if packet is None:
        return Hop(
            **common, seen=False, time="", src=empty, dst=empty, ttl=empty, length=empty, outer=empty,
            note="the packet was not seen here",
        )  # fmt: skip
    inner = innermost(packet)
    was = innermost(before) if before else None
    return Hop(
        **common,
        seen=True,
        time=f"+{micros(packet.t_us - start)}",
        src=_cell(inner.src, was.src if was else None),
        dst=_cell(inner.dst, was.dst if was else None),
        ttl=_cell(str(inner.ttl), str(was.ttl) if was else None),
        length=_cell(f"{packet.length:,}", f"{before.length:,}" if before else None),
        outer=_cell(_outer(packet), _outer(before) if before else None),
        note=_note(packet, before, owners),
    )


def _cell(text: str, was: str | None) -> FieldCell:
    changed = was is not None and was != text
    return FieldCell(text, changed, was or "" if changed else "")


def _outer(packet: Packet) -> str:
    if packet.inner is None:
        return ""
    tunnel = f"VNI {packet.vni}" if packet.vni is not None else packet.proto
    return (
        f"{packet.src} → {packet.dst}, udp {packet.dst_port}, {tunnel}"
        if packet.dst_port
        else f"{packet.src} → {packet.dst}, {tunnel}"
    )


def _note(packet: Packet, before: Packet | None, owners: Owners) -> str:
    """What happened between the hop before and this one."""
    inner = innermost(packet)
    if before is None:
        return "sent"
    was = innermost(before)
    notes: list[str] = []
    if inner.ttl < was.ttl:
        notes.append("routed" if was.ttl - inner.ttl == 1 else f"routed {was.ttl - inner.ttl} times")
    if packet.inner is not None and before.inner is None:
        notes.append(f"encapsulated, {packet.length - inner.length} bytes added")
    if packet.inner is None and before.inner is not None:
        notes.append("decapsulated")
    if inner.src != was.src:
        owner = owners.classify(inner.src)
        notes.append(f"source translated to {owner or inner.src}")
    if inner.dst != was.dst:
        owner = owners.classify(inner.dst)
        notes.append(f"destination translated to {owner or inner.dst}")
    return ", ".join(notes) or "forwarded unchanged"
