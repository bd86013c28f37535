"""Policy routing of nodes: no rule takes traffic of the model away from the main table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import product
from typing import Final

from conformance.context import Context
from conformance.dumps import INET, addresses, by_name, rows, unread
from conformance.fib import LOCAL, MAIN, Decision, Fib, Packet, fib, samples
from conformance.inventory import NodeFact, Site
from conformance.legs import broken, census, control, failed, names, passed, recorded, where
from conformance.model import Check, Verdict
from harness.model import world
from harness.model.family import Address, Range
from harness.model.records import Leg

MASQUERADE_MARK: Final = 0x4000
"""kube-proxy marks with it what it will translate, before the node routes it."""


@dataclass(frozen=True)
class Sender:
    """Who sends, and how it comes to the node's routing.

    Args:
        iif: The device; `lo` for the node itself.
        src: The address; None for a socket that has none yet.
        title: As a sentence has it.
    """

    iif: str
    src: Address | None
    title: str


@dataclass(frozen=True)
class Traffic:
    """A class of destinations, and who sends to it.

    Args:
        name: End of the leg's name.
        known: Addresses that the suite knows, each with what a sentence says of it.
        whole: All addresses of the class; none: only those that are known.
        senders: Who sends.
    """

    name: str
    known: tuple[tuple[Address, str], ...]
    whole: Range | None
    senders: tuple[Sender, ...]


def policy_rules(context: Context) -> Verdict:
    """Every rule is the kernel's own, or takes no packet of the model to where the main table does not send it."""
    legs: list[Leg] = []
    examined = 0
    for node in context.inventory.nodes:
        read = [context.attempt("node", node.name, what) for what in _SUBJECTS]
        gone = [(what, data) for what, data in zip(_SUBJECTS, read, strict=True) if not rows(data)]
        if gone:
            legs.append(unread(node.name, node.name, *gone[0]))
            continue
        examined += 1
        found = fib(*(rows(data) for data in read), context.family)  # type: ignore[call-arg,arg-type]
        legs += _own_rules(node.name, found)
        strange = [f"{rule} with {names(rule.unknown)}" for rule in found.ordered if rule.unknown]
        if strange:
            text = f"{node.name} has conditions that this program cannot evaluate: {names(strange)}"
            legs.append(broken(f"{node.name}:unknown", text, "unread"))
        bridge = addresses(by_name(read[2]).get(context.expect.bridge or ""), family=INET[context.family])
        made = [_leg(node.name, one, found, _marks(context)) for one in _traffic(context, node, found, bridge)]
        # A network that is not known may route by rules of its own, as those do that give pods addresses of a NIC.
        sure = context.gates.get("known")
        legs += [
            one if sure or one.status != "fail" else recorded(one.leg, one.observed, one.statement) for one in made
        ]
    return Verdict(
        tuple(legs),
        (
            census(examined, len(context.inventory.nodes), "nodes"),
            control(
                "P5", _sees(), "a stored rule with a table of its own takes a pod's packets, and the kernel's do not"
            ),
        ),
        summary=f"no rule of {examined} nodes takes packets away from the main table: {len(legs)} classes",
    )


_SUBJECTS: Final = ("policy-rules", "route", "addr")


def _marks(context: Context) -> tuple[int, ...]:
    return (0, MASQUERADE_MARK) if context.gates.get("kp") else (0,)


def _own_rules(node: str, found: Fib) -> list[Leg]:
    """The rules without which a kernel delivers nothing to itself, and routes nothing."""
    legs = []
    for table in (LOCAL, MAIN):
        there = [str(rule.priority) for rule in found.ordered if rule.plain and rule.table == table]
        text = f"{node} has no rule that asks table {table} for every packet"
        leg = f"{node}:{table}"
        legs.append(passed(leg, table, there) if there else failed(leg, "missing", text, table, "none"))
    return legs


def _traffic(context: Context, node: NodeFact, found: Fib, gateways: Sequence[str]) -> Iterator[Traffic]:
    """Classes of destinations, with the packets of the model that go there."""
    pods, itself, others = _pods(context, node, found), _itself(node), _others(context, node)
    share = bool(context.gates.get("ncidr"))
    for one in context.inventory.nodes:
        known = tuple((ip_address(site.ip), where(site)) for site in context.inventory.on(one.name) if site.ip)
        whole = ip_network(one.pod_cidr) if share and one.pod_cidr else None
        senders = (*pods, *itself) if one is not node else (*itself, *others, *pods)
        if known or whole:
            yield Traffic(f"pods of {one.name}", known, whole, senders)
    peers = tuple((ip_address(one.address), f"{one.address} ({one.name})") for one in context.inventory.nodes
                  if one is not node and one.address)  # fmt: skip
    yield from (Traffic("nodes", peers, None, (*pods, *itself)) for _ in peers[:1])
    held = [text for text in (node.address, *gateways) if text]
    yield Traffic("own addresses", tuple((ip_address(one), f"its own {one}") for one in held), None, (*pods, *others))
    virtual = tuple((ip_address(one.cluster_ip), f"{one.cluster_ip} (Service {one.name})")
                    for one in context.inventory.services if one.cluster_ip not in {"", "None"})  # fmt: skip
    whole = ip_network(context.service_range) if context.gates.get("ranges") else None
    if context.gates.get("svc") and (virtual or whole):
        # Pods' packets to Services are translated before they are routed; those of a node's sockets after.
        yield Traffic("Services", virtual, whole, itself)
    if context.gates.get("router"):
        yield Traffic("outside", tuple((ip, f"{ip} (outside)") for ip in outside(context)), None, (*pods, *itself))


def outside(context: Context) -> tuple[Address, ...]:
    """Addresses outside the cluster that the suite dials."""
    far = [world.far_host(context.family)] if "far" in context.inventory.by_name else []
    return (*(one.ip for one in world.addresses(context.family)), *far)


def _pods(context: Context, node: NodeFact, found: Fib) -> tuple[Sender, ...]:
    """The suite's pods of a node, and addresses that rules tell from them: any pod may have one.

    The bridge is where their packets come in, or each pod's own link.
    """
    known = tuple(
        Sender(context.expect.bridge or site.host_veth, ip_address(site.ip), f"packets of {where(site)}")
        for site in context.inventory.on(node.name)
        if site.ip
    )
    named = [rule.source for rule in found.further if rule.source is not None]
    if not named or not known or not node.pod_cidr or not context.gates.get("ncidr"):
        return known
    more = samples(ip_network(node.pod_cidr), named)
    return (*known, *(Sender(known[0].iif, ip, f"packets of a pod with {ip}") for ip in more))


def _itself(node: NodeFact) -> tuple[Sender, ...]:
    own = Sender("lo", None, "its own packets")
    return (
        (own, Sender("lo", ip_address(node.address), f"its own packets of {node.address}")) if node.address else (own,)
    )


def _others(context: Context, node: NodeFact) -> tuple[Sender, ...]:
    """Pods of other nodes: their packets come by the tunnel, or by the underlay."""
    device = context.expect.overlay_device or context.spec.cluster_nic
    found: dict[str, Site] = {site.node: site for site in context.inventory.pods if site.node != node.name and site.ip}
    return tuple(Sender(device, ip_address(site.ip), f"packets of {where(site)}") for site in found.values())


def _leg(node: str, traffic: Traffic, found: Fib, marks: Sequence[int]) -> Leg:
    """The first packet of a class that goes another way than by the main table."""
    leg = f"{node}:{traffic.name}"
    if _is_plain(found):
        return passed(leg, "as the main table says", "as the main table says")
    for sender, (dst, title) in product(traffic.senders, _destinations(traffic, found)):
        for mark in marks:
            taken = _taken(found, Packet(dst, sender.src, sender.iif, mark))
            if taken is not None:
                text = _sentence(node, sender.title, title, *taken)
                ours, main = taken
                return failed(leg, "wrong-value", text, main.outcome, ours.outcome)
    return passed(leg, "as the main table says", "as the main table says")


def _is_plain(found: Fib) -> bool:
    """The kernel's own rules in their order, and no others: nothing has to be tried out."""
    asked = [rule.table for rule in found.ordered]
    return not found.further and asked == [rule.table for rule in found.unruled.rules]


def _destinations(traffic: Traffic, found: Fib) -> list[tuple[Address, str]]:
    """What the suite knows first; then one address of each part of the class that rules or routes tell apart."""
    made = list(traffic.known)
    if traffic.whole is not None and found.further:
        named = [prefix for rule in found.further for prefix in (rule.target,) if prefix is not None]
        asked = {MAIN, *(rule.table for rule in found.further)}
        named += [route.network for table in asked for route in found.tables.get(table, ())]
        made += [(one, str(one)) for one in samples(traffic.whole, named)]
    return made


def _taken(found: Fib, packet: Packet) -> tuple[Decision, Decision] | None:
    """What rules say and what the main table says, where that differs; None where it does not.

    A table that has a way where the main table has none takes nothing away.
    """
    asked = [
        rule.example(packet) for rule in found.further if {"ipproto", "dport", "dport_start", "sport"} & set(rule.row)
    ]
    for one in (packet, *asked):
        ours, main = found.decide(one), found.unruled.decide(one)
        if main.route is not None and ours.outcome != main.outcome:
            return ours, main
    return None


def _sentence(node: str, sender: str, target: str, ours: Decision, main: Decision) -> str:
    table = main.rule.table if main.rule else MAIN
    right = f"although table {table} has {main.route}"
    if ours.rule is None:
        return f"{node} has no way for {sender} to {target}: no rule asks a table that has one, {right}"
    if ours.route is None or ours.outcome in {"blackhole", "unreachable", "prohibit"}:
        return f"{node} refuses {sender} to {target} ({ours.outcome}) by {ours.rule}, {right}"
    if ours.route.kind == LOCAL:
        return f"{node} keeps {sender} to {target} for itself by {ours.rule}, {right}"
    return f"{node} sends {sender} to {target} {ours.route.way} by {ours.rule}, {right}"


_STORED: Final = (
    [{"dst": "10.244.1.0/24", "gateway": "10.244.1.0", "dev": "vxlan0", "table": "main"},
     {"dst": "default", "gateway": "172.18.0.1", "dev": "eth0", "table": "52"}],
    [{"priority": 0, "src": "all", "table": "local"}, {"priority": 5270, "src": "all", "table": "52"},
     {"priority": 32766, "src": "all", "table": "main"}],
)  # fmt: skip


def _sees() -> bool:
    """A rule of a VPN takes a packet to another node's pod, and without it nothing does."""
    routes, stored = _STORED
    packet = Packet(ip_address("10.244.1.3"), ip_address("10.244.0.2"), "cni0")
    with_rule, without = (fib(some, routes, (), "ipv4") for some in (stored, [stored[0], stored[2]]))
    return _taken(with_rule, packet) is not None and _taken(without, packet) is None


CHECKS: tuple[Check, ...] = (
    Check(
        "node.rules", "no policy-routing rule takes a node's packets away from the main table", "S", "B0", policy_rules,
        gates=("node",), causes=("a VPN client", "a second NIC with a table of its own", "a rule deleted by hand"),
        next=("ip rule", "ip route show table all"),
    ),
)  # fmt: skip
