"""Where a flow's own packets ended, by what netfilter traced of them; and that beside what was concluded. Pure.

A walk (`conformance.path.walk`) says what the kernels should do. A trace says what they did. It does not see
everything: what stops a packet outside of netfilter is told by the last hook that it passed, and by what the kernels
counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from conformance.causes.library import described, rule_commands
from conformance.nft import is_compat
from conformance.path.passages import Direction, Passage, ends_of
from conformance.path.places import World
from harness.model.cause import Cause
from harness.model.family import Family

Counters = Mapping[str, Mapping[str, int]]
"""By place: what its kernel counted while the packets were sent, by the name of the counter."""


@dataclass(frozen=True)
class Ended:
    """Where packets of one direction ended.

    Args:
        kind: Of the library of causes.
        place: Where.
        thing: What of it: the end of the cause's key.
        facts: What the sentence needs.
        also: Another place that may have the fault.
    """

    kind: str
    place: str
    thing: str
    facts: Mapping[str, str]
    also: str = ""


def ended(seen: Sequence[Passage], route: Sequence[str], counted: Counters, dialled: str) -> Ended | None:
    """Where the packets of a flow that was not answered ended; None: the answer came back, or nothing is known.

    Args:
        seen: Passages of all places.
        route: Places in which the packets were traced, from the sender to the receiver.
        counted: What their kernels counted.
        dialled: The packet as its sender makes it.
    """
    for direction, way in (("request", tuple(route)), ("reply", tuple(reversed(route)))):
        mine = [one for one in seen if one.direction == direction and one.place in way]
        carried = [one for one in seen if one.direction == "tunnel"]
        if stopped := next((one for one in (*mine, *carried) if one.verdict != "passed"), None):
            return _stopped(stopped, counted)
        if not mine:
            return _silent(direction, way, seen, dialled)  # type: ignore[arg-type]
        last = max(way.index(one.place) for one in mine)
        at = [one for one in mine if one.place == way[last]]
        if last < len(way) - 1 or "input" not in {one.hook for one in at}:
            return _unfinished(at, way[last + 1 :], counted, carried)
    return None


def _stopped(one: Passage, counted: Counters) -> Ended:
    """In a hook: by a rule that is known, or by something that nftables does not know of."""
    facts = {"flow": one.before, "hook": one.hook, "counted": _counted(counted, one.place)}
    if one.verdict == "lost":
        return Ended("seen.vanishes", one.place, f"hook/{one.hook}", facts)
    if one.hook == "program":
        return Ended("seen.program", one.place, f"program/{one.rule}", facts | {"rule": one.rule})
    facts |= {"table": one.table, "chain": one.chain, "rule": one.rule or "its policy"}
    return Ended("seen.drops", one.place, f"nft/{one.table}/{one.chain}/{one.handle or 'policy'}", facts)


def _silent(direction: Direction, way: Sequence[str], seen: Sequence[Passage], dialled: str) -> Ended:
    """No packet of a direction was seen anywhere."""
    if direction == "request":
        return Ended("seen.unsent", way[0], "flow", {"flow": dialled, **_address(dialled)})
    arrived = next(one for one in reversed(seen) if one.direction == "request")
    return Ended("seen.unanswered", arrived.place, "listener", {"flow": arrived.after})


def _unfinished(
    at: Sequence[Passage], after: Sequence[str], counted: Counters, carried: Sequence[Passage]
) -> Ended | None:
    """All hooks let it pass, and it did not come to the next place: what lies after the last one of them."""
    if taken := next((one for one in carried if one.place in after and one.hook == "input"), None):
        facts = {"flow": taken.after, "carried": at[-1].after, "counted": _counted(counted, taken.place)}
        return Ended("seen.kept", taken.place, "tunnel", facts, at[-1].place)
    one = next((each for each in reversed(carried) if each.place == at[-1].place), at[-1])
    facts = {"flow": one.after, "device": one.oif or one.iif, "counted": _counted(counted, one.place)}
    hooks = {each.hook for each in at if each.direction != "tunnel"}
    if hooks == {"prerouting"}:
        return Ended("seen.unrouted", one.place, "routing", {**facts, **_address(one.after)})
    if "input" in hooks and after:
        return Ended("seen.taken", one.place, "delivery", facts, after[-1])
    if not after:
        return None
    facts["next"] = after[0]
    return Ended("seen.lost", one.place, f"wire/{facts['device']}", facts, after[0])


def _address(flow: str) -> dict[str, str]:
    """Addresses of a packet, for a command that asks where it goes."""
    source, address = ends_of(flow)
    return {"source": source, "address": address} if address else {}


def _counted(counted: Counters, place: str) -> str:
    """Words for what a kernel counted; empty for nothing."""
    told = [f"{name} {number}" for name, number in sorted(counted.get(place, {}).items()) if number > 0]
    return f" (its kernel counted {', '.join(told)})" if told else ""


def told(there: World, one: Ended, family: Family) -> Cause:
    """An end as a cause.

    Args:
        there: All places, for the numbers of rules.
        one: The end.
        family: Of the packets.
    """
    thing = one.thing
    handle = ""
    if one.kind == "seen.drops":
        thing, handle = _named(there, one)
    facts = {**one.facts, **dict(rule_commands(thing, handle))}
    fields = described(one.kind, one.place, facts, family)
    return Cause.model_validate(
        {**fields, "key": f"{one.place}/{thing}", "confidence": "certain", "flow": one.facts["flow"]}
    )


def _named(there: World, one: Ended) -> tuple[str, str]:
    """A rule by its number in its chain, as walks name it, and its handle; by its handle where it was not read."""
    _, table, chain, handle = one.thing.split("/")
    family, _, name = table.partition(" ")
    place = there.places.get(one.place)
    rules = place.rules.ruleset.chains.get((family, name, chain), ()) if place and place.rules else ()
    number = next((str(n) for n, rule in enumerate(rules, 1) if str(rule.get("handle")) == handle), "")
    last = "policy" if handle == "policy" else number or f"handle {handle}"
    if number and is_compat({"family": family, "table": name}):
        return f"iptables/{name}/{chain}/{number}", ""
    return f"nft/{table}/{chain}/{last}", handle


def agreed(causes: Sequence[Cause], seen: Cause | None, also: str, blind: Collection[str]) -> tuple[Cause, ...]:
    """Causes with what was seen: it is the first one, unless a certain one is of the same place and says more.

    Args:
        causes: By what the kernels said of themselves.
        seen: Where the packets ended; None: that is not known.
        also: Another place that may have the fault that was seen.
        blind: Places where programs of eBPF carry packets past netfilter: only what dropped them there is known.
    """
    if seen is None or (blind and seen.kind not in {"seen.drops", "seen.vanishes", "seen.program"}):
        return tuple(causes)
    near = {seen.place, also}
    if any(one.confidence == "certain" and one.place in near for one in causes):
        return tuple(causes)
    return (seen, *(_doubted(one) for one in causes))


def _doubted(cause: Cause) -> Cause:
    """What would stop the packets elsewhere than where they ended is not certain."""
    if cause.confidence != "certain":
        return cause
    sentence = f"{cause.sentence} (not certain: the packets ended elsewhere)"
    return cause.model_copy(update={"confidence": "possible", "sentence": sentence})


DROPS: Final = frozenset({
    "IpInHdrErrors", "IpInAddrErrors", "IpInDiscards", "IpOutDiscards", "IpOutNoRoutes", "IpReasmFails", "IpFragFails",
    "IpExtInNoRoutes", "IpExtInTruncatedPkts", "IpExtInCsumErrors", "TcpExtIPReversePathFilter", "TcpExtListenDrops",
    "TcpExtListenOverflows", "TcpExtTCPBacklogDrop", "TcpInCsumErrors", "UdpNoPorts", "UdpInErrors", "UdpRcvbufErrors",
    "UdpInCsumErrors", "Ip6InHdrErrors", "Ip6InTooBigErrors", "Ip6InNoRoutes", "Ip6InAddrErrors", "Ip6InDiscards",
    "Ip6OutDiscards", "Ip6OutNoRoutes", "Ip6FragFails", "Ip6ReasmFails", "Udp6NoPorts", "Udp6InErrors",
})  # fmt: skip
"""Counters of packets that a kernel does not carry on (Documentation/networking/snmp_counter.rst)."""


def counters(text: str) -> dict[str, int]:
    """The counters of dropped packets in `/proc/net/snmp`, `/proc/net/netstat` and `/proc/net/snmp6`.

    Args:
        text: The files, one after the other. The first two have two lines for each protocol: names, then numbers
            (proc(5)).
    """
    return {name: number for name, number in _counters(text.splitlines()) if name in DROPS}


def _counters(lines: Sequence[str]) -> Iterator[tuple[str, int]]:
    heads: dict[str, list[str]] = {}
    for line in lines:
        head, colon, rest = line.partition(":")
        words = rest.split() if colon else line.split()
        if colon and head in heads:
            yield from ((f"{head}{name}", int(number)) for name, number in zip(heads.pop(head), words, strict=False))
        elif colon:
            heads[head] = words
        elif len(words) == 2:
            yield words[0], int(words[1])


def grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What was counted between two looks."""
    return {name: number - before.get(name, 0) for name, number in after.items() if number > before.get(name, 0)}
