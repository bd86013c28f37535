"""What netfilter's own trace says of a flow: which hooks its packets passed, how they changed, what dropped them. Pure.

A table of its own marks the packets of one flow (`meta nftrace set 1`, nft(8)), and has two chains at every hook: one
before all others and one after them. So a packet that the first one sees and the last one does not was stopped in
between, also by what nftables does not know of, as rules of iptables-legacy. Rules of iptables-nft are traced like all
others. The table belongs to the process that makes it (`flags owner`), and goes with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final, Literal

from harness.model.datapath import Drop
from harness.model.family import Family, endpoint

TABLE: Final = "cnilab-trace"

Hook = Literal["prerouting", "input", "forward", "output", "postrouting", "program"]
"""Of netfilter; or it is a program of eBPF that drops a packet."""
HOOKS: Final[tuple[Hook, ...]] = ("prerouting", "input", "forward", "output", "postrouting")

FIRST, LAST = -450, 450
"""Priorities: before fragments are put together (-400) and after everything that distributions and agents have."""

Verdict = Literal["passed", "dropped", "lost"]
Direction = Literal["request", "reply", "tunnel"]
"""Of a packet of the flow; or it is one that carries such a packet between nodes."""


@dataclass(frozen=True)
class Aim:
    """Which packets are traced: those of one flow, before and after every translation that it may meet.

    Args:
        family: Of its addresses.
        sources: Addresses that its requests may come from: the sender's, and those of machines that masquerade.
        targets: Addresses that they may go to: the one that is dialled, and endpoints of a Service.
        proto: Transport protocol.
        ports: Destination ports that they may have; none of ICMP.
        tunnels: Ports of UDP at which nodes take what carries them (VXLAN; RFC 7348).
    """

    family: Family
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    proto: str
    ports: tuple[int, ...] = ()
    tunnels: tuple[int, ...] = ()


_INNER: Final[dict[Family, tuple[int, int, int]]] = {"ipv4": (336, 368, 32), "ipv6": (304, 432, 128)}
"""Bits of a VXLAN packet, from its UDP header on: where the addresses of what it carries are, and how long they are.
They come after 8 bytes each of UDP and VXLAN, 14 of Ethernet, and 12 or 8 of IP."""


def ruleset(aim: Aim) -> str:
    """The table that marks the packets, as one line for `nft -i`.

    Args:
        aim: Which packets. Addresses and numbers only: nothing else reaches the line.
    """
    ip = "ip6" if aim.family == "ipv6" else "ip"
    sources, targets = _members(aim.sources), _members(aim.targets)
    carried = "ipv6-icmp" if aim.proto == "icmp" and ip == "ip6" else aim.proto
    there = f"{ip} saddr {sources} {ip} daddr {targets} meta l4proto {carried}"
    back = f"{ip} saddr {targets} {ip} daddr {sources} meta l4proto {carried}"
    if aim.ports:
        there += f" {aim.proto} dport {_members(aim.ports)}"
        back += f" {aim.proto} sport {_members(aim.ports)}"
    marks = f"{there} meta nftrace set 1; {back} meta nftrace set 1; "
    if aim.tunnels:
        source, target, length = _INNER[aim.family]
        inner = _members(tuple(f"{int(ip_address(one)):#x}" for one in (*aim.sources, *aim.targets)))
        carries = f"@th,{source},{length} {inner} @th,{target},{length} {inner}"
        marks += f"udp dport {_members(aim.tunnels)} {carries} meta nftrace set 1; "
    parts = []
    for hook in HOOKS:
        first = marks if hook in {"prerouting", "output"} else ""
        for name, priority, rules in (("first", FIRST, first), ("last", LAST, "")):
            parts.append(
                f"chain {hook}-{name} {{ type filter hook {hook} priority {priority}; policy accept; {rules}}}; "
            )
    return f"table inet {TABLE} {{ flags owner; {''.join(parts)}}}\n"


def _members(values: tuple[object, ...]) -> str:
    return f"{{ {', '.join(map(str, dict.fromkeys(values)))} }}"


@dataclass(frozen=True)
class Passage:
    """A packet at one hook of one place.

    Args:
        place: Where.
        direction: Of the packet.
        hook: Which.
        iif: Device by which it came; empty for one that is made there.
        oif: Device by which it is to leave; empty before it is routed.
        before: The packet as it came.
        after: As it left.
        verdict: passed; dropped, by a rule or a policy that is known; lost, by what the trace does not show.
        table: Of what dropped it: `inet firewalld`.
        chain: Its chain.
        rule: The rule; empty: the chain's policy.
        handle: Of the rule; 0: of none.
    """

    place: str
    direction: Direction
    hook: Hook
    iif: str
    oif: str
    before: str
    after: str
    verdict: Verdict = "lost"
    table: str = ""
    chain: str = ""
    rule: str = ""
    handle: int = 0


def along(seen: Sequence[Passage], route: Sequence[str]) -> tuple[Passage, ...]:
    """Passages in the order of the packets' way, each once: requests from the sender on, then replies back.

    What carries a packet through a tunnel is told at the node that sends it, and then at the one that takes it.

    Args:
        seen: Of all places, those of a place in the order of time.
        route: Places, from the sender to the receiver.
    """
    places = [*route, *dict.fromkeys(one.place for one in seen if one.place not in route)]
    tunnelled = [one.place for one in seen if one.direction == "tunnel"]
    entry = min((places.index(one) for one in tunnelled), default=0)

    def rank(numbered: tuple[int, Passage]) -> tuple[int, int, int, int]:
        number, one = numbered
        at = places.index(one.place)
        leaves = one.hook in {"output", "postrouting", "forward"}
        back = one.direction == "reply" or (one.direction == "tunnel" and leaves == (at != entry))
        # A node sends a tunnel's packet after what it carries, and takes it before.
        beside = 0 if one.direction != "tunnel" else 1 if leaves else -1
        return int(back), -at if back else at, beside, number

    return tuple(one for _, one in sorted(enumerate(dict.fromkeys(seen)), key=rank))


_ENDS: Final = re.compile(r"{0} > {0}/\w+$".format(r"(?:\[([^\]]+)\]:\d+|([\d.]+)(?::\d+)?|([0-9a-fA-F:]+))"))


def ends_of(packet: str) -> tuple[str, str]:
    """Source and target of a packet in the words of a walk: `[fd00::2]:8080 > fd00::3/tcp`; empty where it is none."""
    found = _ENDS.match(packet)
    if found is None:
        return "", ""
    words = found.groups("")
    return "".join(words[:3]), "".join(words[3:])


_LINE: Final = re.compile(r"trace id (\w+) (\S+) (\S+) (\S+) (packet:|rule|policy)(.*)$")
_VERDICT: Final = re.compile(r"(?: # handle (\d+))? ?\(verdict (\w+)[^)]*\)\s*$")
_COUNTED: Final = re.compile(r"counter packets \d+ bytes \d+ ?")
_FACTS: Final = re.compile(
    r'\b(?:(iif|oif) "([^"]*)"|ip6? (saddr|daddr) (\S+)|(?:tcp|udp|sctp) (sport|dport) (\d+)|'
    r"(?:icmp|icmpv6) (type) (\S+))"
)


def passages(place: str, text: str, aim: Aim) -> tuple[Passage, ...]:
    """What the trace of a place says, in the order of time.

    Args:
        place: Its name.
        text: What `nft -a monitor trace` printed there.
        aim: Which packets were marked.
    """
    return tuple(_passages(place, text, aim))


def by_programs(place: str, dropped: Iterable[Drop], aim: Aim) -> tuple[Passage, ...]:
    """Packets of the flow that programs of eBPF have dropped at a place.

    Args:
        place: Its name.
        dropped: What its programs dropped, of any flow.
        aim: Which packets are meant.
    """
    return tuple(_by_programs(place, dropped, aim))


def _by_programs(place: str, dropped: Iterable[Drop], aim: Aim) -> Iterator[Passage]:
    for one in dropped:
        there = one.source in aim.sources and one.target in aim.targets and not one.reply
        back = one.source in aim.targets and one.target in aim.sources
        right = one.proto == aim.proto and (not aim.ports or (one.dport if there else one.sport) in aim.ports)
        if right and (there or back):
            ports = (0, one.dport) if there else (one.sport, 0)
            ends = [
                endpoint(address, port) if port else address
                for address, port in zip((one.source, one.target), ports, strict=True)
            ]
            packet = f"{ends[0]} > {ends[1]}/{aim.proto}"
            direction: Direction = "request" if there else "reply"
            yield Passage(place, direction, "program", "", "", packet, packet, "dropped", "eBPF", "", one.reason)


def _passages(place: str, text: str, aim: Aim) -> Iterator[Passage]:
    found: list[Passage] = []
    at: dict[str, int] = {}
    for line in text.splitlines():
        if (said := _LINE.match(line)) is None:
            continue
        number, family, table, chain, what, rest = said.groups()
        hook, _, end = chain.rpartition("-")
        own = (family, table) == ("inet", TABLE)
        if own and what == "packet:" and end == "first":
            at[number] = len(found)
            found.append(_begun(place, hook, rest, aim))
        elif number not in at:
            continue
        elif own and end == "last":
            open_ = found[at[number]]
            changed = _packet(rest, aim) if what == "packet:" else open_.after
            found[at[number]] = replace(open_, after=changed, verdict="passed")
        elif dropped := _dropped(what, rest):
            found[at[number]] = replace(found[at[number]], table=f"{family} {table}", chain=chain, **dropped)  # type: ignore[arg-type]
            del at[number]
    yield from found


def _facts(header: str) -> dict[str, str]:
    """Fields of a packet's header."""
    facts: dict[str, str] = {}
    for groups in _FACTS.findall(header):
        filled = [one for one in groups if one]
        if len(filled) > 1:
            facts.setdefault(filled[0], filled[1])
    return facts


def _packet(header: str, aim: Aim) -> str:
    """A packet in the words of a walk: `10.244.0.3 > 10.244.1.2:8080/tcp`. A reply has its port at its sender."""
    facts = _facts(header)
    source, target = facts.get("saddr", "?"), facts.get("daddr", "?")
    direction = _direction(facts, aim)
    if direction == "tunnel":
        return f"{source} > {endpoint(target, int(facts['dport']))}/udp"
    if aim.proto == "icmp":
        return f"{source} > {target}/icmp"
    if direction == "reply":
        return f"{endpoint(source, int(facts.get('sport', 0)))} > {target}/{aim.proto}"
    return f"{source} > {endpoint(target, int(facts.get('dport', 0)))}/{aim.proto}"


def _direction(facts: Mapping[str, str], aim: Aim) -> Direction:
    """Of two ends that may both send requests, the type of an echo or the port tells."""
    if int(facts.get("dport", 0)) in {*aim.tunnels} - {*aim.ports}:
        return "tunnel"
    if "type" in facts:
        return "reply" if facts["type"] == "echo-reply" else "request"
    if aim.ports:
        return "request" if int(facts.get("dport", 0)) in aim.ports else "reply"
    return "reply" if facts.get("saddr") in aim.targets else "request"


def _begun(place: str, hook: str, header: str, aim: Aim) -> Passage:
    facts, packet = _facts(header), _packet(header, aim)
    known: Hook = next(one for one in HOOKS if one == hook)
    return Passage(place, _direction(facts, aim), known, facts.get("iif", ""), facts.get("oif", ""), packet, packet)


def _dropped(what: str, rest: str) -> dict[str, object]:
    """The rule or the policy that drops; nothing where it does not."""
    if what == "policy":
        return {"verdict": "dropped"} if rest.strip() == "drop" else {}
    said = _VERDICT.search(rest)
    if said is None or said[2] != "drop":
        return {}
    rule = " ".join(_COUNTED.sub("", rest[: said.start()]).split())
    return {"verdict": "dropped", "rule": rule, "handle": int(said[1] or 0)}
