"""What taps on the underlay say of the variant's encapsulation: which one it is, and that nothing goes beside it.

What an encrypted tunnel carries cannot be read there. Then the tunnel's own packets must be there, and nothing of the
pods' that can be read.
"""

from __future__ import annotations

from conformance.context import Context
from conformance.legs import broken, control, failed, leg_name, passed
from conformance.model import Verdict
from conformance.pairs import node_pairs
from harness.model.records import Evidence, Exchange, Leg, Packet, Tap
from harness.model.variant import Wire


def on_underlay(context: Context, tap: Tap) -> bool:
    """True for a tap at a node's own link to the other nodes."""
    return tap.place == tap.node and tap.interface == context.spec.cluster_nic


def sealed(packet: Packet, wire: Wire) -> bool:
    """True for a packet of the variant's encrypted tunnel.

    Args:
        packet: At a tap on the underlay.
        wire: What the variant promises: WireGuard's UDP port, or ESP (RFC 4303), bare or in an overlay.
    """
    if wire.kind == "esp":
        return (packet.inner or packet).proto == "esp"
    return packet.proto == "udp" and wire.port in {packet.src_port, packet.dst_port}


def unreadable(context: Context, tap: Tap, one: Exchange, leg: str, readable: int) -> Leg:
    """Whether an exchange between pods can be read on an underlay that is promised to be encrypted.

    Args:
        context: The run.
        tap: On the underlay.
        one: The exchange.
        leg: What is judged.
        readable: How many of its packets were recognised there.
    """
    wire = context.expect.wire
    hidden = sum(sealed(packet, wire) for packet in _seen(context, tap))
    if readable:
        text = (
            f"{readable} packets of {leg_name(one)} can be read at {tap.node} {tap.interface}: they are not encrypted"
        )
        return failed(leg, "wrong-value", text, wire.kind, "plain")
    if not hidden:
        return _silent(tap, wire, leg, leg_name(one))
    return passed(leg, "nothing to read", f"{hidden} encrypted packets")


def _seen(context: Context, tap: Tap) -> tuple[Packet, ...]:
    """Packets of a tap; where they cannot be read, of all families: a tunnel's outer header does not tell the inner."""
    if not context.expect.wire.encrypted:
        return tap.packets
    place = (tap.batch, tap.flow, tap.order)
    whole = (one.packets for one in context.entire.taps if (one.batch, one.flow, one.order) == place)
    return next(whole, tap.packets)


def _silent(tap: Tap, wire: Wire, leg: str, traffic: str) -> Leg:
    text = f"no packet of {wire.kind} was seen at {tap.node} {tap.interface} while {traffic} answered"
    return failed(leg, "missing", text, wire.kind, "nothing")


def encapsulation(context: Context) -> Verdict:
    """On the underlay no packet is fragmented, and the encapsulation is the variant's."""
    taps = [tap for tap in context.taps if tap.batch == "B2" and tap.place == tap.node]
    expect = context.expect.wire
    legs = [_leg(context, tap, expect) for tap in taps if on_underlay(context, tap)]
    legs += _untapped(context, {tap.node for tap in taps if on_underlay(context, tap)})
    port = f" to UDP {expect.port}" if expect.port else ""
    vni = "" if expect.vni is None else f", VNI {expect.vni}"
    what = f"{expect.kind}{port}, unreadable" if expect.encrypted else f"{expect.kind.upper()}{port}{vni}"
    return Verdict(
        tuple(legs),
        (control("P3", taps and all(tap.canary for tap in taps), "every tap recorded its canary"),),
        tuple(Evidence(kind="pcap", detail={"path": tap.pcap, "interface": tap.interface}) for tap in taps),
        summary=f"{what}, no outer fragment at {len(legs)} taps",
    )


def _untapped(context: Context, tapped: set[str]) -> list[Leg]:
    """Legs of the first pair's nodes on whose underlay nobody listened."""
    nic = context.spec.cluster_nic
    return [
        broken(f"{site.node}:{nic}/{src.name}<>{dst.name}", f"nobody listened at {site.node} {nic}", "missing")
        for src, dst in node_pairs(context.inventory)[:1]
        for site in (src, dst)
        if site.node not in tapped
    ]


def _leg(context: Context, tap: Tap, expect: Wire) -> Leg:
    leg = f"{tap.node}:{tap.interface}/{tap.flow}"
    known = {"udp", "tcp", "icmp", "icmp6", "esp"}
    outer = [packet for packet in _seen(context, tap) if packet.inner is not None or packet.proto in known]
    pieces = [packet for packet in outer if packet.more_fragments or packet.fragment_offset]
    if not outer:
        return broken(leg, f"nothing was captured at {leg}", "missing")
    if pieces:
        text = f"{len(pieces)} outer fragments at {tap.node} {tap.interface}: the tunnel's MTU is too high"
        return failed(leg, "unexpected", text, 0, len(pieces), "count")
    return _tunnel(context, tap, expect, outer, leg)


def _tunnel(context: Context, tap: Tap, expect: Wire, outer: list[Packet], leg: str) -> Leg:
    """Whether whole packets on the underlay are those of the variant's tunnel, and no others of the followed pods."""
    inside = [packet for packet in outer if _inside(packet, expect)]
    bare = [packet for packet in outer if not _inside(packet, expect) and _bare(context, tap.flow, packet)]
    if expect.encrypted and not inside and not bare:
        return _silent(tap, expect, leg, tap.flow)
    if bare or not inside:
        some = "some" if inside else len(outer)
        text = f"{some} packets of {tap.flow} crossed {tap.node} {tap.interface} without encapsulation"
        return failed(leg, "wrong-value", text, expect.kind, "partly plain" if inside else "plain")
    if expect.encrypted:
        return passed(leg, f"{expect.kind} and nothing readable", f"{len(inside)} packets")
    odd = next((packet for packet in inside if _foreign(packet, expect)), None)
    if odd is not None:
        seen = f"UDP {odd.dst_port} VNI {odd.vni}"
        text = f"{tap.node} {tap.interface} carries {seen}, not UDP {expect.port} VNI {expect.vni}"
        return failed(leg, "wrong-value", text, [expect.port, expect.vni], [odd.dst_port, odd.vni])
    vni = "any" if expect.vni is None else expect.vni
    return passed(leg, f"{expect.kind} {expect.port} VNI {vni}", f"{len(inside)} packets")


def _inside(packet: Packet, expect: Wire) -> bool:
    return sealed(packet, expect) if expect.encrypted else packet.inner is not None


def _foreign(packet: Packet, expect: Wire) -> bool:
    """A tunnel, but not the variant's."""
    if expect.port and packet.dst_port != expect.port:
        return True
    return expect.vni is not None and packet.vni != expect.vni


def _bare(context: Context, flow: str, packet: Packet) -> bool:
    """True for a packet of the followed pods that is not in a tunnel."""
    ends = {site.ip for site in context.inventory.pods if site.name in flow.replace(">", " ").replace("<", " ").split()}
    return packet.src in ends or packet.dst in ends
