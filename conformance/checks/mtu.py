"""How large a packet may be: the arithmetic of MTUs, and what really happens at the edge."""

from __future__ import annotations

from conformance.context import Context
from conformance.dumps import by_name, unread
from conformance.families import leg_of
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
    recorded,
    where,
)
from conformance.maths import TCP_HEADER, UDP_HEADER, fragments_of, ip_header, tcp_mss
from conformance.model import Check, Verdict
from conformance.pairs import ladder_pairs, node_pairs
from conformance.plan import fixed_sizes, path_mtu
from conformance.tables import sizes
from conformance.wire import encapsulation
from harness.model.records import Evidence, Leg, Packet, Rung
from harness.model.world import FAR_MTU, far_host

TIMESTAMPS = 12
"""Bytes of the TCP timestamp option, which TCP_MAXSEG leaves out (RFC 7323 appendix A)."""

STALL = 1000.0
"""Milliseconds without progress that count as a stall."""

RFC1191 = "RFC 791, RFC 1191"


def agree(context: Context) -> Verdict:
    """Every link's MTU fits the formula E = U - O, on every node and in every pod."""
    legs: list[Leg] = []
    for node in context.inventory.nodes:
        read = context.attempt("node", node.name, "addr")
        there = by_name(read)
        if not there:
            legs.append(unread(node.name, node.name, "addr", read))
            continue
        effective = context.effective(node.name)
        wanted = {context.spec.cluster_nic: node.mtu}
        if context.expect.overlay_device:
            own = context.expect.overlay_mtu
            wanted[context.expect.overlay_device] = own or context.expect.link_mtu(node.mtu)
        if context.expect.bridge and context.inventory.on(node.name):
            wanted[context.expect.bridge] = effective
        wanted |= {site.host_veth: context.expect.link_mtu(node.mtu)
                   for site in context.inventory.on(node.name) if site.host_veth}  # fmt: skip
        for name, mtu in wanted.items():
            found = int(there[name]["mtu"]) if name in there else None
            text = f"{name} of {node.name} has MTU {found}, not {mtu} = {_formula(context, node.mtu, mtu)}"
            legs.append(check_value(f"{node.name}:{name}", mtu, found, text, unit="B"))
    for site in context.inventory.pods:
        read = context.attempt("pod", site.name, "addr")
        link = by_name(read).get("eth0")
        if link is None:
            legs.append(unread(site.name, where(site), "addr", read))
            continue
        below = context.inventory.node(site.node).mtu
        wanted_mtu = context.expect.link_mtu(below)
        text = (
            f"eth0 of pod {site.name} on {site.node} has MTU {link['mtu']}, "
            f"not {wanted_mtu} = {_formula(context, below, wanted_mtu)}"
        )
        legs.append(check_value(site.name, wanted_mtu, int(link["mtu"]), text, unit="B"))
    examined = sum(leg.status != "error" for leg in legs)
    sample = next((node.mtu for node in context.inventory.nodes), 0)
    expect = context.expect
    return Verdict(
        tuple(legs),
        (
            census(
                len({leg.leg for leg in legs if leg.leg in context.inventory.by_name}),
                len(context.inventory.pods),
                "pods",
            ),
            control("P4", examined, f"{examined} links examined"),
            control("P5", expect.model_copy(update={"overhead": 50}).pod_mtu(1500) == 1450, "1500 - 50 = 1450"),
        ),
        summary=f"{examined} links fit U - O: {sample} - {expect.overhead} = {expect.pod_mtu(sample)} B",
    )


def _formula(context: Context, underlay: int, wanted: int) -> str:
    told = {underlay, context.expect.overlay_mtu}
    return str(wanted) if wanted in told else f"{underlay} - {context.expect.overhead}"


def _rungs(context: Context, purpose: str = "ladder") -> dict[tuple[str, str], dict[int, Rung]]:
    found: dict[tuple[str, str], dict[int, Rung]] = {}
    for rung in context.rungs:
        if rung.purpose == purpose:
            found.setdefault((rung.src, rung.dst), {})[rung.size] = rung
    return found


def _small_passes(context: Context) -> bool:
    smallest = min(fixed_sizes(context.family))
    return any(rung.outcome == "ok" for rung in context.rungs if rung.size == smallest)


def exact(context: Context) -> Verdict:
    """A datagram of exactly E bytes with DF set passes, both ways, same node and cross node."""
    legs: list[Leg] = []
    seen = _rungs(context)
    pairs = ladder_pairs(context.inventory)
    for src, dst in pairs:
        largest = path_mtu(context.inventory, context.expect, src, dst)
        for size, rung in sorted(seen.get((src.name, dst.name), {}).items()):
            if size > largest:
                continue
            leg = f"{src.name}>{dst.name}/{size}"
            if rung.outcome == "ok" and rung.intact is not False:
                legs.append(passed(leg, size, size, "B"))
            elif rung.outcome == "error":
                legs.append(broken(leg, f"the probe itself failed on {leg}: {rung.detail}"))
            else:
                legs.append(failed(leg, rung.outcome, _too_small(src, dst, rung, largest), largest, _said(rung), "B"))
    return Verdict(
        tuple(legs),
        (
            control("P2", _small_passes(context), f"{min(fixed_sizes(context.family))} B with DF pass on some path"),
            census(len(set(seen) & {(src.name, dst.name) for src, dst in pairs}), len(pairs), "pairs"),
        ),
        _evidence(context, legs),
        summary=f"{len(pairs)} pairs carry {_list(context, pairs)} B with DF, the effective MTU",
    )


def _list(context: Context, pairs: tuple[tuple[Site, Site], ...]) -> str:
    found = sorted({path_mtu(context.inventory, context.expect, src, dst) for src, dst in pairs})
    return ", ".join(map(str, found))


def _said(rung: Rung) -> str:
    return f"{rung.outcome}, MTU {rung.reported_mtu}" if rung.reported_mtu else rung.outcome


def _too_small(src: Site, dst: Site, rung: Rung, largest: int) -> str:
    if rung.outcome == "timeout":
        end = "was lost without an error (black hole)"
    elif rung.reported_mtu:
        end = f"was refused: the reported path MTU is {rung.reported_mtu} B"
    else:
        end = f"ended with {rung.outcome} (errno {rung.errno})"
    return f"a {rung.size} B packet with DF from {where(src)} to {where(dst)} {end}; up to {largest} B must pass"


def plus_one(context: Context) -> Verdict:
    """One byte more is refused with an error that names E; silence is a failure."""
    legs: list[Leg] = []
    seen = _rungs(context)
    pairs = ladder_pairs(context.inventory)
    for src, dst in pairs:
        largest = path_mtu(context.inventory, context.expect, src, dst)
        rung = seen.get((src.name, dst.name), {}).get(largest + 1)
        leg = f"{src.name}>{dst.name}/{largest + 1}"
        if rung is None:
            legs.append(
                broken(leg, f"no datagram of {largest + 1} B was sent from {src.name} to {dst.name}", "missing")
            )
        elif rung.outcome == "msgsize" and rung.reported_mtu in {None, largest}:
            legs.append(passed(leg, f"msgsize {largest}", f"msgsize {rung.reported_mtu}", "B"))
        elif rung.outcome == "error":
            legs.append(broken(leg, f"the probe itself failed on {leg}: {rung.detail}"))
        elif rung.outcome == "ok" and src.node == dst.node and _links_are_declared(context):
            text = f"{_edge(src, dst, rung, largest)}: their links do not fit the path, which is a declared deviation"
            legs.append(recorded(leg, "ok", text, "B"))
        else:
            legs.append(
                failed(leg, _edge_reason(rung), _edge(src, dst, rung, largest), f"msgsize {largest}", _said(rung), "B")
            )
    passes = any(
        (rung := seen.get((src.name, dst.name), {}).get(path_mtu(context.inventory, context.expect, src, dst)))
        and rung.outcome == "ok"
        for src, dst in pairs
    )
    return Verdict(
        tuple(legs),
        (control("P2", passes or _small_passes(context), "smaller packets with DF pass"),),
        _evidence(context, legs),
        summary=f"{len(legs)} pairs: one byte above the effective MTU is refused with EMSGSIZE and the right MTU",
    )


def _links_are_declared(context: Context) -> bool:
    """That pods' links do not fit the path is declared already, so that pods of one node can send each other more."""
    return leg_of("mtu.agree", context.family) in context.deviations


def _edge_reason(rung: Rung) -> str:
    return {"ok": "unexpected", "msgsize": "wrong-value"}.get(rung.outcome, rung.outcome)


def _edge(src: Site, dst: Site, rung: Rung, largest: int) -> str:
    text = f"a {rung.size} B packet with DF from {where(src)} to {where(dst)}"
    if rung.outcome == "timeout":
        return f"{text} was lost without an error: path MTU discovery cannot work"
    if rung.outcome == "ok":
        return f"{text} arrived, one byte above the effective MTU {largest}"
    if rung.outcome == "msgsize":
        return f"{text} was refused with MTU {rung.reported_mtu}, not {largest}"
    return f"{text} ended with {rung.outcome}, not with EMSGSIZE"


def _evidence(context: Context, legs: list[Leg]) -> tuple[Evidence, ...]:
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
    pairs = len(node_pairs(context.inventory))
    return Verdict(
        tuple(legs),
        (
            control("P2", any_ok(context.exchanges.get("unfragmented", ())), f"{sizes().unfragmented} B arrive"),
            census(len({(one.src, one.dst) for one in seen}), pairs, "node pairs"),
        ),
        summary=f"{len(legs)} fragmented datagrams between {pairs} node pairs arrived whole",
    )


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
    return Verdict(
        tuple(legs),
        (control("P2", any_ok(context.exchanges.get("integrity-small", ())), "1 KiB arrives"),
         census(len(seen), 2 * len(node_pairs(context.inventory)), "uploads")),
        evidence_of(seen, legs),
        summary=f"{len(legs)} uploads of 1 MiB (TCP) and E - {headers} B (UDP) without a stall",
    )  # fmt: skip


def mss(context: Context) -> Verdict:
    """The SYN announces E less 40 bytes, 60 in IPv6; as the receiver's TCP_MAXSEG, 12 less with timestamps."""
    legs: list[Leg] = []
    headers = ip_header(context.family) + TCP_HEADER
    for src, dst in node_pairs(context.inventory):
        one = context.exchange("wire", src.name, dst.name, "tcp") or context.exchange("mesh", src.name, dst.name, "tcp")
        largest = path_mtu(context.inventory, context.expect, src, dst)
        wanted = tcp_mss(largest, ipv6=context.family == "ipv6")
        leg = f"{src.name}>{dst.name}/mss"
        syn = _syn_mss(context, src, dst)
        if syn is not None:
            text = f"a SYN from {where(src)} to {where(dst)} announces {syn} B, not {wanted} = {largest} - {headers}"
            legs.append(check_value(leg, wanted, syn, text, unit="B"))
        elif one is not None and one.mss is not None:
            text = f"{where(dst)} sends {where(src)} segments of {one.mss} B, not {wanted} or {wanted - TIMESTAMPS}"
            good = one.mss in {wanted, wanted - TIMESTAMPS}
            legs.append(
                passed(leg, wanted, one.mss, "B") if good else failed(leg, "wrong-value", text, wanted, one.mss, "B")
            )
    return Verdict(
        tuple(legs),
        (control("P3", legs, f"{len(legs)} SYN or segment sizes read"),),
        summary=f"{len(legs)} connections announce the effective MTU less {headers} B of headers",
    )


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
            legs.append(passed(leg, f"msgsize {FAR_MTU}", _said(rung), "B"))
        elif rung.outcome == "error":
            legs.append(broken(leg, f"the probe itself failed on {leg}: {rung.detail}"))
        else:
            text = (
                f"{rung.size} B with DF from {where(context.site(rung.src))} to {far_host(context.family)}, behind a "
                f"link of {FAR_MTU} B: {_said(rung)}; the error that names {FAR_MTU} did not reach the pod"
            )
            legs.append(failed(leg, rung.outcome, text, f"msgsize {FAR_MTU}", _said(rung), "B"))
    seen = context.exchanges.get("pmtud", ())
    for one in seen:
        text = (
            f"an upload from {where(context.site(one.src))} to {one.dial}, behind a link of {FAR_MTU} B, hung: "
            f"{one.outcome} after {one.received} B"
        )
        legs.append(reached(context, one, leg_name(one)))
        if legs[-1].status == "fail":
            legs[-1] = failed(leg_name(one), one.outcome, text, "complete", one.outcome)
    return Verdict(
        tuple(legs),
        (control("P2", any_ok(context.exchanges.get("far-small", ())), "1 KiB arrives at the same host"),),
        evidence_of(seen, legs) + _evidence(context, legs),
        summary=f"{len(legs) - len(seen)} pods learn of the {FAR_MTU} B link, {len(seen)} uploads through it completed",
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "mtu.agree", "the MTU of every link fits the underlay less encapsulation", "S", "B0", agree,
        gates=("node", "known"), causes=("default MTU taken from another NIC",), next=("ip -d link",),
    ),
    Check(
        "mtu.exact", "the largest packet passes with DF set", "M", "B2", exact, source=RFC1191,
        after=("model.pod-pod.same-node", "model.pod-pod.cross-node"), causes=("one NIC with a lower MTU",),
        next=("ip route get {destination}  # look for mtu and expires",),
    ),
    Check(
        "mtu.plus-one", "one byte more is refused with the right error", "M", "B2", plus_one, source=RFC1191,
        after=("model.pod-pod.same-node", "model.pod-pod.cross-node"),
        causes=("ICMP filtered", "a veth that drops silently"), next=("ip -d link", "ip -s link show {host_veth}"),
    ),
    Check(
        "mtu.wire", "no silent fragmentation, and the variant's encapsulation on the wire", "S", "B2", encapsulation,
        source="RFC 7348 §4.3", gates=("cap", "ovl", "multi"), after=("model.pod-pod.cross-node",),
        causes=("MTU of the tunnel too high",), next=("tcpdump -ni {nic} 'ip[6:2] & 0x3fff != 0'",),
    ),
    Check(
        "mtu.fragments", "datagrams that the sender fragments arrive", "S", "B2", fragmented, source="RFC 791",
        gates=("multi",), after=("model.pod-pod.cross-node",),
        causes=("fragments filtered",), next=("nstat -az 'IpReasm*'",),
    ),
    Check(
        "mtu.payload", "bulk data flows without a stall", "M", "B2", payload, gates=("multi",),
        after=("model.pod-pod.cross-node",), causes=("MTU black hole",), next=("ss -ti",),
    ),
    Check(
        "mtu.mss", "a SYN announces the effective MTU less the headers", "S", "B2", mss, source="RFC 9293 §3.7.1",
        gates=("multi",), after=("model.pod-pod.cross-node",), causes=("a clamp rule",), next=("nft list ruleset",),
    ),
    Check(
        "mtu.pmtud", "path MTU discovery works through the node", "M", "B5", pmtud, source="RFC 1191, RFC 8201",
        gates=("router", "masq"), after=("egress.reach",),
        causes=("ICMP 3/4 dropped", "ICMP 3/4 not translated back"),
        next=("tcpdump -ni any icmp  # on both sides of the node", "ip route get {destination}"),
    ),
)  # fmt: skip
