"""What depends on the size of packets beyond the ladders: fragments, bulk data, segments, path MTU discovery."""

from __future__ import annotations

from conformance.asked import name_of, unreported
from conformance.context import Context
from conformance.inventory import Site
from conformance.legs import (
    any_ok,
    broken,
    census,
    check_value,
    control,
    evidence_of,
    failed,
    leg_name,
    passed,
    reached,
    unanswered,
    where,
)
from conformance.maths import TCP_HEADER, UDP_HEADER, fragments_of, ip_header, tcp_mss
from conformance.model import Verdict
from conformance.pairs import node_pairs
from conformance.plan import path_mtu
from conformance.tables import sizes
from harness.model.records import Evidence, Leg, Packet, Rung
from harness.model.world import FAR_MTU, far_host
from harness.probes.plan import ExchangeProbe, Probe

TIMESTAMPS = 12
"""Bytes of the TCP timestamp option, which TCP_MAXSEG leaves out (RFC 7323 appendix A)."""

STALL = 2500.0
"""Milliseconds without progress that count as a stall.

A sender whose large packets are lost without a word finds a size that passes only after three retransmissions
(ip-sysctl, tcp_mtu_probing and tcp_retries1): 0.2 + 0.4 + 0.8 + 1.6 s at least. A busy machine has stopped an upload
for a second.
"""


def said(rung: Rung) -> str:
    """What became of a step, as a value."""
    return f"{rung.outcome}, MTU {rung.reported_mtu}" if rung.reported_mtu else rung.outcome


def rung_evidence(context: Context, legs: list[Leg]) -> tuple[Evidence, ...]:
    """What the sockets of the first failed steps said."""
    bad = {leg.leg for leg in legs if leg.status == "fail"}
    return tuple(
        Evidence(
            kind="errqueue",
            detail={
                "leg": name,
                "outcome": rung.outcome,
                "errno": rung.errno,
                "reported_mtu": rung.reported_mtu,
                "origin": rung.origin,
                "reporter": rung.reporter,
            },
        )
        for rung in context.rungs
        if (name := f"{rung.src}>{rung.dst}/{rung.size}") in bad
    )[:4]


def fragmented(context: Context) -> Verdict:
    """A datagram that the sender has to fragment arrives whole."""
    legs = []
    seen = context.exchanges.get("fragmented", ())
    for one in seen:
        leg = f"{leg_name(one)}/{one.sent or one.received}"
        src, dst = context.site(one.src), context.site(one.dst)
        if one.outcome == "ok" and one.intact is not False:
            legs.append(passed(leg, one.sent, one.received, "B"))
        elif one.outcome == "error":
            legs.append(broken(leg, f"the probe itself failed on {leg}: {one.detail}"))
        else:
            whole = one.sent + ip_header(context.family) + UDP_HEADER
            number = fragments_of(whole, context.effective(src.node), ipv6=context.family == "ipv6")
            text = f"{one.sent} B from {where(src)} to {where(dst)}, sent in {number} fragments, did not arrive"
            legs.append(failed(leg, one.outcome, text, "whole", one.outcome))
    legs += unreported(context, "fragmented", _sized)
    pairs = len(node_pairs(context.inventory))
    return Verdict(
        tuple(legs),
        (
            control("P2", any_ok(context.exchanges.get("unfragmented", ())), f"{sizes().unfragmented} B arrive"),
            census(len({(one.src, one.dst) for one in seen}), pairs, "node pairs"),
        ),
        summary=f"{len(legs)} fragmented datagrams between {pairs} node pairs arrived whole",
    )


def _sized(src: str, probe: Probe) -> str:
    size = f"/{probe.size}" if isinstance(probe, ExchangeProbe) else ""
    return name_of(src, probe) + size


def payload(context: Context) -> Verdict:
    """Bulk data flows without a stall, over TCP and in the largest UDP datagrams."""
    legs, headers = [], ip_header(context.family) + UDP_HEADER
    seen = (*context.exchanges.get("integrity", ()), *context.exchanges.get("payload", ()))
    for one in seen:
        leg = leg_name(one)
        if one.outcome == "ok" and (one.stall_ms or 0.0) > STALL:
            ends = f"from {where(context.site(one.src))} to {where(context.site(one.dst))}"
            text = f"the upload {ends} stalled for {one.stall_ms:.0f} ms"
            legs.append(failed(leg, "late", text, STALL, one.stall_ms, "ms"))
        else:
            legs.append(reached(context, one, leg))
    legs += [*unreported(context, "integrity"), *unreported(context, "payload")]
    return Verdict(
        tuple(legs),
        (control("P2", any_ok(context.exchanges.get("integrity-small", ())), "1 KiB arrives"),
         census(len(seen), 2 * len(node_pairs(context.inventory)), "uploads")),
        evidence_of(seen, legs),
        summary=f"{len(legs)} uploads of 1 MiB (TCP) and E - {headers} B (UDP) without a stall",
    )  # fmt: skip


def mss(context: Context) -> Verdict:
    """The SYN announces E less 40 bytes, 60 in IPv6; as the receiver's TCP_MAXSEG, 12 less with timestamps."""
    legs = [_mss_leg(context, src, dst) for src, dst in node_pairs(context.inventory)]
    read, headers = sum(leg.unit == "B" for leg in legs), ip_header(context.family) + TCP_HEADER
    return Verdict(
        tuple(legs),
        (control("P3", read, f"{read} SYN or segment sizes read"),),
        summary=f"{read} connections announce the effective MTU less {headers} B of headers",
    )


def _mss_leg(context: Context, src: Site, dst: Site) -> Leg:
    """The SYN where it arrived, or else the segment size that the receiver read of it."""
    leg = f"{src.name}>{dst.name}/mss"
    largest = path_mtu(context.inventory, context.expect, src, dst)
    wanted = tcp_mss(largest, ipv6=context.family == "ipv6")
    syn = _syn_mss(context, src, dst)
    if syn is not None:
        headers = ip_header(context.family) + TCP_HEADER
        text = f"a SYN from {where(src)} to {where(dst)} announces {syn} B, not {wanted} = {largest} - {headers}"
        return check_value(leg, wanted, syn, text, unit="B")
    one = context.exchange("wire", src.name, dst.name, "tcp") or context.exchange("mesh", src.name, dst.name, "tcp")
    if one is None or one.outcome != "ok":
        return unanswered(context, one, leg, "its segment size")
    if one.mss is None:
        return broken(leg, f"{dst.name} on {dst.node} did not report the segment size of {leg_name(one)}", "missing")
    if one.mss in {wanted, wanted - TIMESTAMPS}:
        return passed(leg, wanted, one.mss, "B")
    text = f"{where(dst)} sends {where(src)} segments of {one.mss} B, not {wanted} or {wanted - TIMESTAMPS}"
    return failed(leg, "wrong-value", text, wanted, one.mss, "B")


def _syn_mss(context: Context, src: Site, dst: Site) -> int | None:
    """MSS of the SYN from one pod to another, where it arrived: a clamp on the way counts."""
    for tap in context.taps:
        if tap.place != dst.name:
            continue
        for packet in tap.packets:
            if packet.tcp_mss and _is_syn(packet) and (packet.src, packet.dst) == (src.ip, dst.ip):
                return packet.tcp_mss
    return None


def _is_syn(packet: Packet) -> bool:
    return "S" in packet.tcp_flags and not set("A.") & set(packet.tcp_flags)


def pmtud(context: Context) -> Verdict:
    """Over a path with a smaller link the ICMP error finds its way back to the pod, and an upload completes.

    The datagram is what counts: a TCP peer behind the small link announces a small segment size by itself.
    """
    legs: list[Leg] = []
    for rung in context.rungs:
        if rung.purpose != "pmtud":
            continue
        leg = f"{rung.src}>{rung.dst}/{rung.size}"
        if rung.outcome == "msgsize" and rung.reported_mtu == FAR_MTU:
            legs.append(passed(leg, f"msgsize {FAR_MTU}", said(rung), "B"))
        elif rung.outcome == "error":
            legs.append(broken(leg, f"the probe itself failed on {leg}: {rung.detail}"))
        else:
            text = (
                f"{rung.size} B with DF from {where(context.site(rung.src))} to {far_host(context.family)}, behind a "
                f"link of {FAR_MTU} B: {said(rung)}; the error that names {FAR_MTU} did not reach the pod"
            )
            legs.append(failed(leg, rung.outcome, text, f"msgsize {FAR_MTU}", said(rung), "B"))
    seen = context.exchanges.get("pmtud", ())
    for one in seen:
        text = (
            f"an upload from {where(context.site(one.src))} to {one.dial}, behind a link of {FAR_MTU} B, hung: "
            f"{one.outcome} after {one.received} B"
        )
        legs.append(reached(context, one, leg_name(one)))
        if legs[-1].status == "fail":
            legs[-1] = failed(leg_name(one), one.outcome, text, "complete", one.outcome)
    legs += unreported(context, "pmtud")
    return Verdict(
        tuple(legs),
        (control("P2", any_ok(context.exchanges.get("far-small", ())), "1 KiB arrives at the same host"),),
        evidence_of(seen, legs) + rung_evidence(context, legs),
        summary=f"{len(legs) - len(seen)} pods learn of the {FAR_MTU} B link, {len(seen)} uploads through it completed",
    )
