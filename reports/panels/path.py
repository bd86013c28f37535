"""One packet, tap by tap: what it looked like at every place it passed, and what changed in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.model.records import Packet, Tap
from reports.addresses import Owners
from reports.model import FieldCell, Hop, PacketPath, PathSide
from reports.panels.decode import decode
from reports.text import Ids, micros, natural, plural

Direction = Literal["request", "reply"]


@dataclass(frozen=True)
class _Seen:
    """A packet at a tap; the packet is None when the tap did not see it."""

    tap: Tap
    packet: Packet | None


def paths(taps: list[Tap], owners: Owners, ids: Ids) -> tuple[PacketPath, ...]:
    """All traced flows, those that cross nodes first.

    Args:
        taps: All captures of the run.
        owners: Names for addresses.
        ids: Gives `path-a-c-icmp`.
    """
    flows: dict[str, list[Tap]] = {}
    for tap in taps:
        flows.setdefault(tap.flow, []).append(tap)
    ordered = sorted(flows.items(), key=lambda item: (-len({tap.node for tap in item[1]}), natural(item[0])))
    found = (_path(flow, sorted(members, key=lambda tap: tap.order), owners, ids) for flow, members in ordered)
    return tuple(path for path in found if path is not None)


def ends(flow: str) -> tuple[str, str] | None:
    """The names in `a>c icmp`; None when the flow is not called like that."""
    pair = flow.split(" ", maxsplit=1)[0]
    src, arrow, dst = pair.partition(">")
    return (src, dst) if arrow and src and dst else None


def innermost(packet: Packet) -> Packet:
    """What the pods exchange, whatever it is wrapped in."""
    return innermost(packet.inner) if packet.inner is not None else packet


def _is(packet: Packet, direction: Direction) -> bool:
    inner = innermost(packet)
    if inner.icmp_type is not None:
        return inner.icmp_type == (8 if direction == "request" else 0)
    if inner.tcp_flags:
        syn, ack = "S" in inner.tcp_flags, "A" in inner.tcp_flags or "." in inner.tcp_flags
        return syn and ack == (direction == "reply")
    return False


def _follow(taps: list[Tap], direction: Direction) -> list[_Seen]:
    """The same packet at every tap: the first that all taps can have seen, found by its ICMP sequence number."""
    at_start = [packet for tap in taps[:1] for packet in tap.packets if _is(packet, direction)]
    anywhere = at_start or [packet for tap in taps for packet in tap.packets if _is(packet, direction)]
    if not anywhere:
        return []
    sequence = min((innermost(packet).icmp_seq or 0 for packet in anywhere), default=0)
    return [
        _Seen(
            tap,
            next(
                (
                    packet
                    for packet in tap.packets
                    if _is(packet, direction) and (innermost(packet).icmp_seq or 0) == sequence
                ),
                None,
            ),
        )
        for tap in taps
    ]


def _path(flow: str, taps: list[Tap], owners: Owners, ids: Ids) -> PacketPath | None:
    there, back = _follow(taps, "request"), _follow(list(reversed(taps)), "reply")
    if not there:
        return None
    anchor = ids.new("path", flow.replace(">", "-"))
    pair = ends(flow)
    title = f"{pair[0]} → {pair[1]}" if pair else flow
    sides = [_side("There", there, owners, ids, anchor)]
    if any(seen.packet for seen in back):
        sides.append(_side("And back", back, owners, ids, anchor))
    wire = next((seen for seen in there if seen.packet is not None and seen.packet.inner is not None), None)
    wire = wire or next((seen for seen in there if seen.packet is not None and seen.packet.src_mac), None)
    return PacketPath(
        anchor=anchor,
        title=title,
        flow=flow.partition(" ")[2] if pair else "",
        ends=pair or (),
        sentence=_sentence(there, back),
        sides=tuple(sides),
        decoded=decode(wire.packet, f"{wire.tap.place} {wire.tap.interface}", owners) if wire and wire.packet else None,
    )


def _sentence(there: list[_Seen], back: list[_Seen]) -> str:
    packets = [seen.packet for seen in there if seen.packet]
    missing = [seen for seen in there if seen.packet is None]
    first, last = innermost(packets[0]), innermost(packets[-1])
    kind = "An ICMP echo request" if first.icmp_type is not None else "The first packet"
    text = f"{kind} from {first.src} to {first.dst} at {plural(len(there), 'tap')}"
    text += f", TTL {first.ttl} at the first and {last.ttl} at the last"
    if missing:
        text += f"; {plural(len(missing), 'tap')} did not see it"
    elif (first.src, first.dst) == (last.src, last.dst):
        text += "; no address was translated on the way"
    else:
        text += f"; it arrived as {last.src} → {last.dst}"
    if not any(seen.packet for seen in back):
        text += "; no answer was seen"
    return text + "."


def _side(title: str, seen: list[_Seen], owners: Owners, ids: Ids, anchor: str) -> PathSide:
    start = min((one.packet.t_us for one in seen if one.packet), default=0)
    hops: list[Hop] = []
    before: Packet | None = None
    last = ""
    for one in seen:
        hops.append(_hop(one, before, start, owners, ids.new(anchor, "hop")))
        if one.packet is not None:
            before = one.packet
            last = f"{one.tap.place} {one.tap.interface}"
    return PathSide(title, tuple(hops), last if seen[-1].packet is None else "")


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
        notes.append(f"wrapped, {packet.length - inner.length} bytes added")
    if packet.inner is None and before.inner is not None:
        notes.append("unwrapped")
    if inner.src != was.src:
        owner = owners.classify(inner.src)
        notes.append(f"source translated to {owner or inner.src}")
    if inner.dst != was.dst:
        owner = owners.classify(inner.dst)
        notes.append(f"destination translated to {owner or inner.dst}")
    return ", ".join(notes) or "passed on unchanged"
