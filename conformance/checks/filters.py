"""Filters of nodes: no rule of any table, hook, family or backend drops, changes or leads astray the model's packets.

What cannot be evaluated is recorded as not known, and so is what the packets themselves contradict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from conformance.context import Context
from conformance.dumps import reason, rows, unread
from conformance.hooks import Met, NodeRules, Station, traverse
from conformance.legs import census, control, failed, names, passed, recorded
from conformance.maths import split_endpoint
from conformance.model import Check, Verdict
from conformance.netfilter import DNAT, DROP, ITSELF, MASQUERADE, REJECT, SMALL, SNAT, UNKNOWN, Flow, parse
from conformance.nft import ruleset
from conformance.noderules import LEGACY, SUBJECTS, node_rules
from conformance.path.places import deciders, queues
from conformance.ways import Way, ways
from harness.model.family import transport_of
from harness.model.records import Evidence, Exchange, Leg


def filters(context: Context) -> Verdict:
    """Every packet of the model passes all rules of every node."""
    legs: list[Leg] = []
    evidence: list[Evidence] = []
    examined = 0
    for node in context.inventory.nodes:
        read = _read(context, node.name)
        if isinstance(read, Leg):
            legs.append(read)
            continue
        examined += 1
        rules, strange = read
        legs += strange
        programs = _programs(context, node.name)
        legs += programs.values()
        for way in ways(context, node):
            leg, met = _leg(context, node.name, way, rules, programs)
            legs.append(leg)
            if met is not None and leg.status == "fail":
                detail = {"node": node.name, "flow": str(way.flow), "hook": str(met.station), "rule": met.end.rule}
                evidence.append(Evidence(kind="rule-eval", detail=detail))
    unknown = sum(leg.status == "record" for leg in legs)
    return Verdict(
        tuple(legs),
        (
            census(examined, len(context.inventory.nodes), "nodes"),
            control("P5", _sees(), "stored rules of four kinds stop or turn a packet, and let its neighbour pass"),
        ),
        tuple(evidence[:4]),
        summary=f"{len(legs)} kinds of packets pass all rules of {examined} nodes"
        + (f"; of {unknown} it is not known" if unknown else ""),
    )


def _read(context: Context, node: str) -> tuple[NodeRules, list[Leg]] | Leg:
    """All rules of a node, and what is strange about them; or why they are not known."""
    rules = node_rules(context, node)
    if rules is None:
        return unread(f"{node}/rules", node, "rules", *(context.attempt("node", node, what) for what in SUBJECTS))
    legs = list(_deviceless(node, *(context.attempt("node", node, what) for what in ("rules-nft", "hook-devices"))))
    if len(rules.counts) > 1:
        both = " beside ".join(f"{count} in {name}" for name, count in sorted(rules.counts.items(), reverse=True))
        legs.append(recorded(f"{node}/backends", rules.counts, f"{node} has rules of iptables twice: {both}", "count"))
    return rules, legs


def _deviceless(node: str, nft: Any, said: Any) -> Iterator[Leg]:
    """Where the devices of chains at their hooks are not known, what such chains do is not known either."""
    there = [one for entry in rows(nft) if (one := entry.get("chain")) and one.get("hook") in {"ingress", "egress"}]
    if there and reason(said):
        text = f"at which devices {names(one['name'] for one in there)} of {node} are is not known: {reason(said)}"
        yield recorded(f"{node}/devices", "unknown", text)


def _programs(context: Context, node: str) -> dict[str, Leg]:
    """By device, what decides there and cannot be evaluated: programs of eBPF, and queues that drop."""
    if context.family != context.entire.family:
        return {}
    legs: dict[str, Leg] = {}
    for what in ("programs", "queues"):
        data = context.attempt("node", node, what)
        if data is None:
            legs[what] = unread(f"{node}/{what}", node, what, data)
        elif reason(data):
            text = f"what {what} devices of {node} have is not known: {reason(data)}"
            legs[what] = recorded(f"{node}/{what}", "unknown", text)
    found = deciders(context, node)
    for device, kind in queues(context, node).items():
        found.setdefault(device, []).append(f"queue {kind}")
    for device, there in found.items():
        text = f"what {names(there)} at {device} of {node} does with packets cannot be evaluated"
        legs[device] = recorded(f"{node}/{device}", there, text)
    return legs


def _leg(
    context: Context, node: str, way: Way, rules: NodeRules, programs: Mapping[str, Leg]
) -> tuple[Leg, Met | None]:
    """What rules do with the packets of one kind: the first that they certainly spoil, else the first that they may."""
    leg = f"{node}/{way.name}/{way.flow.proto}"
    doubt: tuple[Leg, Met | None] | None = None
    doubted: dict[str, str] = {}  # what an exchange shows of a rule holds for the other packets that come to it
    for packet in way.packets:
        for met in traverse(rules, way.stations, packet):
            if not _wrong(way, met):
                continue
            text = _sentence(node, way, packet, met, rules)
            blind = sorted(way.devices & set(programs))
            against = doubted.get(met.end.rule, "") or _contradiction(context, way, packet, met)
            doubted[met.end.rule] = against
            if met.certain and not blind and not against and met.end.verdict != UNKNOWN:
                return failed(leg, "unexpected", text, "pass", met.end.verdict), met
            why = against or (f"a program at {names(blind)} may decide before" if blind else _DOUBT)
            doubt = doubt or (recorded(leg, "unknown", f"{text}: whether it does is not known, as {why}"), met)
    if doubt is not None:
        return doubt
    if blind := sorted(way.devices & set(programs)):
        text = f"what becomes of {way.flow} ({way.name}) on {node} is not known: programs at {names(blind)} decide"
        return recorded(leg, "unknown", text), None
    return passed(leg, "pass", "pass"), None


_DOUBT: Final = "not all that the rules ask for can be evaluated"


def _wrong(way: Way, met: Met) -> bool:
    """It is not what should become of such a packet."""
    if met.end.verdict in {MASQUERADE, SNAT}:
        return not way.masked
    if met.end.verdict == DNAT and way.to:
        return met.end.to not in way.to and met.end.to != ""
    return True


def _contradiction(context: Context, way: Way, packet: Flow, met: Met) -> str:
    """Why the packets themselves speak against it, or do not speak for it; empty when nothing is to be said."""
    purpose, src, dst = way.asked
    if not purpose or packet.length != SMALL:
        return ""
    found = [
        one
        for name in (purpose, *(["ports"] if purpose == "mesh" else ()))
        for one in context.exchanges.get(name, ())
        if (one.src, one.dst, transport_of(one.proto)) == (src, dst, packet.proto) and _is_for(one, packet)
    ]
    if any(one.outcome == "ok" and _unspoilt(context, one, way, met) for one in found):
        return f"{src} did reach {dst} with {packet.proto}"
    if LEGACY in met.end.rule and way.to and not found:
        return f"the kernel asks one of the two backends first, and nobody tried which ({src} to {dst})"
    return ""


def _is_for(one: Exchange, packet: Flow) -> bool:
    return packet.proto == "icmp" or split_endpoint(one.dial)[1] == packet.dport


def _unspoilt(context: Context, one: Exchange, way: Way, met: Met) -> bool:
    """The exchange shows that what the rules are said to do did not happen."""
    if met.end.verdict in {MASQUERADE, SNAT}:
        return bool(one.peer) and one.peer == one.source
    if met.end.verdict == DNAT and way.to:
        site = context.inventory.by_name.get(one.token)
        return bool(one.certificate) if site is None else site.ip in way.to
    return met.end.verdict != DNAT or one.token == one.dst


_DOES: Final[Mapping[str, str]] = {
    DROP: "drops", REJECT: "rejects", MASQUERADE: "masquerades", SNAT: "gives another sender to", DNAT: "redirects",
    UNKNOWN: "leaves to another program",
}  # fmt: skip


def _sentence(node: str, way: Way, packet: Flow, met: Met, rules: NodeRules) -> str:
    """`n1 rejects 10.244.0.2 > 10.244.1.2:8080/tcp (a to c, leaving) at forward by table inet …, chain …, rule 4`."""
    what = f"{packet} ({way.name})"
    if packet.length != SMALL:
        what = f"packets above {_threshold(way, packet, met, rules)} B, as {what},"
    where = f"at {met.station} by {met.end.rule or 'a rule'}"
    does = _DOES.get(met.end.verdict, met.end.verdict)
    to = {"": "", ITSELF: " to itself"}.get(met.end.to, f" to {met.end.to}")
    more = ""
    if way.to and met.end.verdict == DNAT:
        more = ", which is no endpoint of it"
    elif met.end.verdict in {DROP, REJECT}:
        more = "; that another table accepts them does not help"
    twice = rules.counts
    if LEGACY in met.end.rule and len(twice) > 1:
        more += f" (rules of {node}: {', '.join(f'{count} in {name}' for name, count in twice.items())})"
    return f"{node} {does} {what}{to} {where}{more}"


def _threshold(way: Way, packet: Flow, met: Met, rules: NodeRules) -> int:
    """Bytes of the largest packet that the rule lets pass."""
    low, high = SMALL, packet.length
    while high - low > 1:
        middle = (low + high) // 2
        said = traverse(rules, way.stations, replace(packet, length=middle))
        if any(one.end.rule == met.end.rule and one.certain == met.certain for one in said):
            high = middle
        else:
            low = middle
    return low


_FIREWALL: Final = {"family": "inet", "table": "firewall"}
_NETDEV: Final = {"family": "netdev", "table": "narrow"}


def _chain(place: Mapping[str, Any], hook: str, *exprs: Sequence[Mapping[str, Any]]) -> list[Any]:
    base = {**place, "name": "c", "type": "filter", "hook": hook, "prio": 10, "policy": "accept"}
    return [{"chain": base}, *({"rule": {**place, "chain": "c", "expr": expr}} for expr in exprs)]


def _match(left: Mapping[str, Any], right: Any, how: str = "==") -> dict[str, Any]:
    return {"match": {"op": how, "left": left, "right": right}}


_REJECTING: Final = ruleset(_chain(
    _FIREWALL, "forward", [_match({"ct": {"key": "state"}}, ["established", "related"], "in"), {"accept": None}],
    [_match({"meta": {"key": "iifname"}}, "lo"), {"accept": None}], [{"reject": {"type": "icmpx"}}],
))  # fmt: skip
_NARROW: Final = ruleset(_chain(_NETDEV, "ingress", [_match({"meta": {"key": "length"}}, 1400, ">"), {"drop": None}]))
_OLD: Final = parse("*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 10.0.9.9/32 -j DNAT --to-destination 10.0.0.9\n")
_CATCHING: Final = parse(
    "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 443 -j REDIRECT --to-ports 1\n"
)
_STORED: Final = (
    (NodeRules(_REJECTING), Station("ip", "forward", "br0", "eth0"), Flow("10.0.1.2", "10.0.2.2"),
     Flow("10.0.1.2", "10.0.2.2", state="ESTABLISHED")),
    (NodeRules(_NARROW, devices={("netdev", "narrow", "c"): ("eth0",)}),
     Station("netdev", "ingress", "eth0", device="eth0"),
     Flow("10.0.1.2", "10.0.2.2", length=1500), Flow("10.0.1.2", "10.0.2.2", length=1400)),
    (NodeRules(tables={LEGACY: _OLD}), Station("ip", "prerouting", "br0"), Flow("10.0.1.2", "10.0.9.9"),
     Flow("10.0.1.2", "10.0.9.8")),
    (NodeRules(tables={"iptables": _CATCHING}), Station("ip", "prerouting", "br0"),
     Flow("10.0.1.2", "10.0.2.2", dport=443), Flow("10.0.1.2", "10.0.2.2")),
)  # fmt: skip
"""Rules as people have them: a firewall of its own, a narrow path, a leftover, a port for everybody."""


def _sees() -> bool:
    """Each of the stored rules certainly stops or turns its packet, and lets the other one pass."""

    def stopped(rules: NodeRules, station: Station, flow: Flow) -> Iterator[bool]:
        yield from (_wrong(Way("", flow, (station,)), met) and met.certain for met in traverse(rules, (station,), flow))

    return all(any(stopped(rules, at, bad)) and not any(stopped(rules, at, good)) for rules, at, bad, good in _STORED)


CHECKS: tuple[Check, ...] = (
    Check(
        "node.filters", "no rule of a node drops or changes packets of the model", "S", "B0", filters,
        gates=("node", "known"), needs=("B1", "B3"),
        causes=("a host firewall with a chain of its own", "rules left in iptables-legacy",
                "a rule that names a port and no address"),
        next=("nft -a list ruleset", "iptables-legacy-save", "bpftool net show", "nft monitor trace"),
    ),
)  # fmt: skip
