"""How large a packet may be: the arithmetic of MTUs, and what really happens at the edge."""

from __future__ import annotations

from conformance.checks.bulk import fragmented, mss, payload, pmtud, rung_evidence, said
from conformance.context import Context
from conformance.dumps import by_name, unread
from conformance.families import leg_of
from conformance.inventory import NodeFact, Site
from conformance.legs import (
    broken,
    census,
    check_value,
    control,
    failed,
    passed,
    recorded,
    where,
)
from conformance.model import Check, Verdict
from conformance.pairs import ladder_pairs
from conformance.plan import fixed_sizes, ladder_sizes, path_mtu
from conformance.wire import encapsulation
from harness.model.records import Leg, Rung

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
        for name, mtu in _wanted(context, node).items():
            found = int(there[name]["mtu"]) if name in there else None
            legs.append(_fits(context, f"{node.name}:{name}", f"{name} of {node.name}", (node.mtu, mtu, found)))
    for site in context.inventory.pods:
        read = context.attempt("pod", site.name, "addr")
        link = by_name(read).get("eth0")
        if link is None:
            legs.append(unread(site.name, where(site), "addr", read))
            continue
        below = context.inventory.node(site.node).mtu
        sizes_ = (below, context.expect.link_mtu(below), int(link["mtu"]))
        legs.append(_fits(context, site.name, f"eth0 of pod {site.name} on {site.node}", sizes_))
    examined = [leg for leg in legs if leg.status != "error"]
    sample = next((node.mtu for node in context.inventory.nodes), 0)
    expect = context.expect
    return Verdict(
        tuple(legs),
        (
            census(sum(leg.leg in context.inventory.by_name for leg in examined), len(context.inventory.pods), "pods"),
            control("P4", examined, f"{len(examined)} links examined"),
            control("P5", _flags_a_byte(context, examined), "a link that is one byte longer would be found"),
        ),
        summary=f"{len(examined)} links fit U - O: {sample} - {expect.overhead} = {expect.pod_mtu(sample)} B",
    )


def _wanted(context: Context, node: NodeFact) -> dict[str, int]:
    """What the links of a node should have, bytes."""
    expect, pods = context.expect, context.inventory.on(node.name)
    wanted = {context.spec.cluster_nic: node.mtu}
    if expect.overlay_device:
        wanted[expect.overlay_device] = expect.overlay_mtu or expect.link_mtu(node.mtu)
    if expect.bridge and pods:
        wanted[expect.bridge] = context.effective(node.name)
    return wanted | {site.host_veth: expect.link_mtu(node.mtu) for site in pods if site.host_veth}


def _fits(context: Context, leg: str, link: str, mtu: tuple[int, int, int | None]) -> Leg:
    """Passed when a link has the MTU that it should have.

    Args:
        context: For the formula.
        leg: Its name.
        link: Whose it is, for the sentence.
        mtu: Of the underlay, what the link should have, and what it has; bytes.
    """
    below, wanted, found = mtu
    text = f"{link} has MTU {found}, not {wanted} = {_formula(context, below, wanted)}"
    return check_value(leg, wanted, found, text, unit="B")


def _flags_a_byte(context: Context, examined: list[Leg]) -> bool:
    """Every link of this run that fits would not fit with one byte more."""
    good = [leg for leg in examined if leg.status == "pass"]
    longer = [_fits(context, leg.leg, leg.leg, (leg.expected, leg.expected, leg.observed + 1)) for leg in good]
    # Where no link fits there is nothing to hold up against the rule, and nothing that a rule too mild let pass.
    return bool(examined) and all(leg.status == "fail" for leg in longer)


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
                legs.append(failed(leg, rung.outcome, _too_small(src, dst, rung, largest), largest, said(rung), "B"))
        sizes_there = [
            size for size in ladder_sizes(context.inventory, context.variant.expect, src, dst) if size <= largest
        ]
        legs += [_unsent(src, dst, size) for size in sizes_there if size not in seen.get((src.name, dst.name), {})]
    return Verdict(
        tuple(legs),
        (
            control("P2", _small_passes(context), f"{min(fixed_sizes(context.family))} B with DF pass on some path"),
            census(len(set(seen) & {(src.name, dst.name) for src, dst in pairs}), len(pairs), "pairs"),
        ),
        rung_evidence(context, legs),
        summary=f"{len(pairs)} pairs carry {_list(context, pairs)} B with DF, the effective MTU",
    )


def _unsent(src: Site, dst: Site, size: int) -> Leg:
    text = f"no datagram of {size} B was sent from {src.name} to {dst.name}"
    return broken(f"{src.name}>{dst.name}/{size}", text, "missing")


def _list(context: Context, pairs: tuple[tuple[Site, Site], ...]) -> str:
    found = sorted({path_mtu(context.inventory, context.expect, src, dst) for src, dst in pairs})
    return ", ".join(map(str, found))


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
            legs.append(_unsent(src, dst, largest + 1))
        elif rung.outcome == "msgsize" and rung.reported_mtu in {None, largest}:
            legs.append(passed(leg, f"msgsize {largest}", f"msgsize {rung.reported_mtu}", "B"))
        elif rung.outcome == "error":
            legs.append(broken(leg, f"the probe itself failed on {leg}: {rung.detail}"))
        elif rung.outcome == "ok" and src.node == dst.node and _links_are_declared(context):
            text = f"{_edge(src, dst, rung, largest)}: their links do not fit the path, which is a declared deviation"
            legs.append(recorded(leg, "ok", text, "B"))
        else:
            legs.append(
                failed(leg, _edge_reason(rung), _edge(src, dst, rung, largest), f"msgsize {largest}", said(rung), "B")
            )
    passes = any(
        (rung := seen.get((src.name, dst.name), {}).get(path_mtu(context.inventory, context.expect, src, dst)))
        and rung.outcome == "ok"
        for src, dst in pairs
    )
    return Verdict(
        tuple(legs),
        (control("P2", passes or _small_passes(context), "smaller packets with DF pass"),),
        rung_evidence(context, legs),
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
