"""No address translation between pods: what the receiver saw, and what was on the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from conformance.asked import unreported
from conformance.checks.reach import NM, cross_node, same_node
from conformance.checks.sources import classify_source
from conformance.context import Context
from conformance.inventory import Site
from conformance.legs import any_ok, broken, control, evidence_of, failed, leg_name, passed, recorded, unanswered, where
from conformance.maths import inside, split_endpoint
from conformance.model import Check, Judge, Verdict
from conformance.wire import on_underlay, unreadable
from harness.model.family import Family, family_of_dial
from harness.model.records import Evidence, Exchange, Leg, Packet, Tap

_MESH_ENOUGH = 8
"""Legs of a mesh from which on one odd flow is a coincidence; a rule would have met the others."""

ARTICLES = {
    "pod": "the address of another pod",
    "node": "the address of a node",
    "gateway": "a bridge's address",
    "tunnel": "the tunnel address",
    "other": "an unknown address",
}


def _owner(context: Context, address: str) -> str:
    kind = classify_source(context, address)
    owner = next(
        (node.name for node in context.inventory.nodes if node.pod_cidr and inside(address, node.pod_cidr)), ""
    )
    owner = owner or next((node.name for node in context.inventory.nodes if node.address == address), "")
    return ARTICLES[kind] + (f" of {owner}" if owner and kind in {"gateway", "tunnel"} else "")


def untranslated(context: Context, one: Exchange, src: Site, dst: Site) -> Leg:
    """Passed when the receiver saw the sender's own socket, at the address that was dialled."""
    leg = leg_name(one)
    if not one.peer or not one.source:
        return broken(leg, f"{leg}: the responder did not report the source address")
    if one.peer != one.source:
        saw, port = split_endpoint(one.peer)
        what = f"{saw}, {_owner(context, saw)}" if saw != src.ip else f"port {port} instead of the sender's"
        return failed(
            leg,
            "wrong-source",
            f"{where(src)} reached {one.dial} ({dst.name}, {dst.node}), but {dst.name} saw {what}",
            one.source,
            one.peer,
            "ip",
        )
    if one.local and one.local != one.dial:
        text = f"{where(src)} dialled {one.dial}, but was answered at {one.local}"
        return failed(leg, "wrong-dest", text, one.dial, one.local, "ip")
    return passed(leg, one.source, one.peer, "ip")


def _clashed(one: Exchange) -> bool:
    """The receiver saw the sender's address, but another port."""
    saw, own = split_endpoint(one.peer), split_endpoint(one.source)
    return bool(one.peer and one.source) and saw[0] == own[0] and saw[1] != own[1]


def forgive_clash(legs: list[Leg], exchanges: list[Exchange]) -> list[Leg]:
    """One flow of a whole mesh may get another port, if it keeps its address.

    Connection tracking gives a flow a new source port when its own would clash with a tracked flow (nf_nat_core.c, null
    binding): the same pod reached the same backend through a Service a moment ago, from the same port. No rule and no
    plugin is at work. A rule that rewrites ports does so for every flow, so two are a failure.
    """
    clashes = [index for index, one in enumerate(exchanges) if _clashed(one)]
    if len(clashes) != 1 or len(legs) < _MESH_ENOUGH:
        return legs
    (index,) = clashes
    text = f"{legs[index].statement}: its own port was tracked for another flow"
    return [*legs[:index], recorded(legs[index].leg, exchanges[index].peer, text, "ip"), *legs[index + 1 :]]


def _no_nat(pairs: Callable[[Context], tuple[tuple[Site, Site], ...]], what: str) -> Judge:
    def judge(context: Context) -> Verdict:
        legs, seen = [], []
        silent: list[Leg] = []
        wanted = pairs(context)
        for src, dst in wanted:
            for proto in ("tcp", "udp"):
                one = context.exchange("mesh", src.name, dst.name, proto)
                if one is None or one.outcome != "ok":
                    silent.append(unanswered(context, one, f"{src.name}>{dst.name}/{proto}", "whom the receiver sees"))
                else:
                    seen.append(one)
                    legs.append(untranslated(context, one, src, dst))
        legs = forgive_clash(legs, seen)
        known = {site.ip for site in context.inventory.pods}
        mine = [split_endpoint(one.source)[0] for one in seen if one.source]
        # A family in which nobody answers says nothing; the other one is judged all the same.
        elsewhere = not seen and any_ok(context.entire.exchanges.get("mesh", ()))
        return Verdict(
            (*legs, *silent),
            (
                control(
                    "P7",
                    (mine or elsewhere) and set(mine) <= known,
                    "senders' own sockets have the addresses the API names",
                ),
            ),
            evidence_of(seen, legs),
            total=2 * len(wanted),
            summary=f"{len(legs)} exchanges {what}: the receiver saw the sender's own address and port",
        )

    return judge


_ECHO: Mapping[Family, tuple[str, int]] = {"ipv4": ("icmp", 8), "ipv6": ("icmp6", 128)}
"""Protocol and type of an echo request (RFC 792, RFC 4443 §4.1)."""


def _matches(packet: Packet, one: Exchange) -> bool:
    """A packet of the exchange's forward direction, by its ports or, for ICMP, by its type.

    A connection the other way round, on its last leg since an earlier batch, can have the same two ports.
    """
    if one.proto == "icmp":
        return (packet.proto, packet.icmp_type) == _ECHO[family_of_dial(one.dial)] and packet.dst == one.dial
    if packet.proto != one.proto:
        return False
    client, server = split_endpoint(one.source), split_endpoint(one.dial)
    other_way = (packet.src, packet.dst) == (server[0], client[0])
    return not other_way and (packet.src_port, packet.dst_port) == (client[1], server[1])


def on_wire(context: Context) -> Verdict:
    """The inner packet is the same at the sender, on the underlay and at the receiver.

    On an underlay that is promised to be encrypted it must not be readable; then sender and receiver are compared.
    """
    legs: list[Leg] = []
    evidence: list[Evidence] = []
    seen_at_source = 0
    for one in context.exchanges.get("wire", ()):
        src, dst = context.site(one.src), context.site(one.dst)
        legs += _untapped(context, one, src, dst)
        for tap in context.taps:
            if tap.batch != "B2" or tap.node not in {src.node, dst.node}:
                continue
            found = [packet for packet in map(_inner, tap.packets) if _matches(packet, one)]
            if tap.place == src.name:
                seen_at_source += len(found)
            leg = (
                f"{leg_name(one)}@{tap.node}:{tap.interface}"
                if tap.place == tap.node
                else f"{leg_name(one)}@{tap.place}"
            )
            if tap.place not in {tap.node, src.name, dst.name}:
                continue
            if context.expect.wire.encrypted and on_underlay(context, tap):
                legs.append(unreadable(context, tap, one, leg, len(found)))
                continue
            if not found:
                text = f"no packet of {leg_name(one)} was seen at {tap.place} {tap.interface}"
                legs.append(failed(leg, "missing", text, f"{src.ip} > {dst.ip}", "nothing"))
                continue
            wrong = [packet for packet in found if (packet.src, packet.dst) != (src.ip, dst.ip)]
            wrong_outer = _wrong_outer(context, tap, one)
            if wrong:
                seen = f"{wrong[0].src} > {wrong[0].dst}"
                text = f"{where(src)} to {where(dst)} was {seen} at {tap.place} {tap.interface}: translated on the way"
                legs.append(failed(leg, "wrong-source", text, f"{src.ip} > {dst.ip}", seen, "ip"))
                evidence.append(Evidence(kind="pcap", detail={"path": tap.pcap, "interface": tap.interface}))
            elif wrong_outer:
                legs.append(failed(leg, "wrong-source", wrong_outer, "node > node", tap.interface, "ip"))
            else:
                legs.append(passed(leg, f"{src.ip} > {dst.ip}", f"{len(found)} packets", "ip"))
    legs += unreported(context, "wire")
    return Verdict(
        tuple(legs),
        (
            control("P3", context.taps and all(tap.canary for tap in context.taps), "every tap recorded its canary"),
            control("P1", seen_at_source, f"{seen_at_source} packets seen where they were sent"),
        ),
        tuple(evidence),
        summary=f"{len(context.taps)} taps saw the same addresses and ports from end to end"
        + (", and nothing readable on the underlay" if context.expect.wire.encrypted else ""),
    )


def _untapped(context: Context, one: Exchange, src: Site, dst: Site) -> list[Leg]:
    """Legs of places where an exchange should have been listened to, and was not."""
    there = {(tap.node, tap.place) for tap in context.taps if tap.batch == "B2"}
    nic = context.spec.cluster_nic
    wanted = {(site.node, site.name): site.name for site in (src, dst)}
    wanted |= {(site.node, site.node): f"{site.node}:{nic}" for site in (src, dst)}
    return [
        broken(f"{leg_name(one)}@{shown}", f"nobody listened at {shown} while {leg_name(one)} was sent", "missing")
        for place, shown in wanted.items()
        if place not in there
    ]


def _inner(packet: Packet) -> Packet:
    return packet.inner or packet


def _wrong_outer(context: Context, tap: Tap, one: Exchange) -> str:
    """What is wrong with the outer header of an exchange's packets on the underlay; empty when nothing is."""
    if not on_underlay(context, tap):
        return ""
    overlay = context.expect.wire.kind != "plain"
    whole = context.entire.inventory
    family = context.expect.wire.outer(context.family, whole.families)
    source, target = (whole.node(node).address_of(family) for node in (one.src_node, one.dst_node))
    for packet in tap.packets:
        if not _matches(_inner(packet), one):
            continue
        if overlay and packet.inner is None:
            return f"{leg_name(one)} crossed the underlay without encapsulation at {tap.node} {tap.interface}"
        if not overlay and packet.inner is not None:
            return f"{leg_name(one)} was encapsulated at {tap.node} {tap.interface}, but the variant uses plain routes"
        if overlay and (packet.src, packet.dst) != (source, target):
            return f"the outer header of {leg_name(one)} is {packet.src} > {packet.dst}, not {source} > {target}"
    return ""


_NEXT = ("nft -a list ruleset", "iptables -t nat -S POSTROUTING", "conntrack -L -s {source}")

CHECKS: tuple[Check, ...] = (
    Check(
        "model.no-nat.same-node", "pods of one node see each other's own address", "M", "B1",
        _no_nat(same_node, "on the same node"), source=f"{NM}; e2e NoSNAT", after=("node.underlay",),
        causes=("masquerade that is too wide",), next=_NEXT,
    ),
    Check(
        "model.no-nat.cross-node", "pods on different nodes see each other's own address", "M", "B1",
        _no_nat(cross_node, "between nodes"), source=f"{NM}; e2e NoSNAT", gates=("multi",), after=("node.underlay",),
        causes=("masquerade that is too wide", "ipMasq: true with one CIDR per node"), next=_NEXT,
    ),
    Check(
        "model.no-nat.wire", "no packet between pods is rewritten on its way", "S", "B2", on_wire,
        source=NM, gates=("cap", "multi"), after=("model.pod-pod.cross-node",), needs=("B0",),
        causes=("DNAT and its reversal, which sockets do not see", "an asymmetric path around the tunnel"),
        next=("tcpdump -ni {nic} -w f.pcap",),
    ),
)  # fmt: skip
