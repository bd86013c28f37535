"""What netfilter would do with a packet, computed from saved rules: `iptables-save` and `nft -j list ruleset`.

Only what CNI plugins, their agents and kube-proxy write is understood. A match that is not understood may or may not
hold, so an evaluation gives the *set* of possible verdicts; one element means that the rules decide.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from harness.model.family import Family, Range, endpoint, family_of_dial

Json = Mapping[str, Any]

ACCEPT, DROP, REJECT, MASQUERADE, SNAT, DNAT, RETURN, UNKNOWN = (
    "accept", "drop", "reject", "masquerade", "snat", "dnat", "return", "unknown",
)  # fmt: skip
UNTRACKED: Final = "UNTRACKED"
"""The state of a packet that belongs to no connection by request."""
CLAMPED: Final = "?"
"""Of a packet whose segment size a rule has changed, until it is known which."""
ITSELF: Final = "itself"
"""Where a redirection leads: to the node whose rule it is."""


_NUMBERS: Final[Mapping[str, tuple[str, ...]]] = {"ipv6-icmp": ("icmpv6", "icmp6", "58")}
"""Other names of protocols (RFC 4443; iptables-extensions(8))."""


SMALL: Final = 60
"""Bytes of a packet that is no larger than the first one of a connection."""


@dataclass(frozen=True)
class Flow:
    """A packet as netfilter sees it.

    Args:
        src: Source address.
        dst: Destination address.
        iif: Interface it came in on; empty for locally made packets.
        oif: Interface it leaves by.
        proto: tcp, udp, icmp.
        dport: Destination port.
        state: Of its connection.
        mark: Packet mark; None where a rule may have set it to something that is not known.
        to_local: The destination is an address of this node.
        length: Bytes of the IP packet.
        ttl: Its TTL, or hop limit.
        ttl_rule: The rule that has set that; empty: none.
        mss_rule: The rule that has changed its maximum segment size; empty: none.
        untracked: The rule by which it bypasses connection tracking; empty: none.
        icmp: Type of an ICMP message, as nft(8) names it.
        dnated: It is of a connection whose destination was translated.
    """

    src: str
    dst: str
    iif: str = ""
    oif: str = ""
    proto: str = "tcp"
    dport: int = 8080
    state: str = "NEW"
    mark: int | None = 0
    to_local: bool = False
    length: int = SMALL
    ttl: int = 64
    ttl_rule: str = ""
    mss_rule: str = ""
    untracked: str = ""
    icmp: str = "echo-request"
    dnated: bool = False

    def __str__(self) -> str:
        """`10.244.1.2 > 8.8.8.8:8080/tcp`, `10.244.1.2 > 8.8.8.8/icmp`, `… /icmp (nd-neighbor-solicit)`."""
        if self.proto == "icmp":
            usual = self.icmp.startswith("echo-")
            return f"{self.src} > {self.dst}/{self.proto}" + ("" if usual else f" ({self.icmp})")
        return f"{self.src} > {endpoint(self.dst, self.dport)}/{self.proto}"

    @property
    def family(self) -> Family:
        """That of its addresses."""
        return family_of_dial(self.dst)

    @property
    def protocol(self) -> str:
        """The transport by its name in rules: ICMP of IPv6 is a protocol of its own."""
        return "ipv6-icmp" if self.proto == "icmp" and self.family == "ipv6" else self.proto


@dataclass(frozen=True)
class End:
    """How a packet's way through a chain can end.

    Args:
        verdict: accept, drop … `return` for a chain that others jump to.
        flow: The packet, whose mark may have changed.
        rule: Where the rule is that said so; empty for an end without one.
        to: Where a translation leads, an address or `ITSELF`; empty where that is not known.
        port: The port that it gives; 0: that which the packet has.
    """

    verdict: str
    flow: Flow
    rule: str = ""
    to: str = ""
    port: int = 0


@dataclass(frozen=True)
class Rule:
    """A rule of iptables-save: its words, without table and chain."""

    words: tuple[str, ...]
    text: str


@dataclass
class Table:
    """A table of iptables-save."""

    name: str = ""
    policies: dict[str, str] = field(default_factory=dict)
    chains: dict[str, list[Rule]] = field(default_factory=dict)


@cache
def parse(text: str) -> Mapping[str, Table]:
    """Tables of an `iptables-save` output, with or without counters."""
    tables: dict[str, Table] = {}
    table = Table()
    for line in text.splitlines():
        if line.startswith("*"):
            table = tables.setdefault(line[1:].strip(), Table(line[1:].strip()))
        elif line.startswith(":"):
            name, policy, *_ = line[1:].split()
            table.policies[name] = policy.lower()
            table.chains.setdefault(name, [])
        elif " -A " in f" {line}":
            words = _split(line)
            if words[0].startswith("["):
                words = words[1:]
            table.chains.setdefault(words[1], []).append(Rule(tuple(words[2:]), line))
    return tables


_WORD: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


def _split(line: str) -> list[str]:
    """Words of a rule as `iptables-save` quotes them; a shell's own reader takes ten times as long."""
    if '"' not in line:
        return line.split()
    return [re.sub(r"\\(.)", r"\1", quoted) if quoted else plain for quoted, plain in _WORD.findall(line)]


def verdicts(tables: Mapping[str, Table], table: str, chain: str, flow: Flow) -> set[str]:
    """Possible verdicts of a built-in chain, its policy included."""
    return {end.verdict for end in ends(tables, table, chain, flow)}


def ends(tables: Mapping[str, Table], table: str, chain: str, flow: Flow) -> set[End]:
    """The same, each with the rule that gives it.

    Args:
        tables: As `parse` gives them.
        table: filter, nat …
        chain: A built-in one.
        flow: The packet.
    """
    found = tables.get(table)
    if found is None or chain not in found.chains:
        return {End(ACCEPT, flow)}
    policy = found.policies.get(chain, ACCEPT)
    by_policy = "" if policy == ACCEPT else f"the policy of table {table}, chain {chain}"
    return {
        replace(end, verdict=policy, rule=by_policy) if end.verdict == RETURN else end
        for end in _walk(found, chain, flow, 0)
    }


def _walk(table: Table, chain: str, flow: Flow, depth: int) -> set[End]:
    """Ends of a chain; those without a verdict return."""
    if depth > 16:
        return {End(RETURN, flow)}
    open_ends, found = {flow}, set[End]()
    for number, rule in enumerate(table.chains.get(chain, ()), start=1):
        following: set[Flow] = set()
        for packet in open_ends:
            certain, possible = _matches(rule.words, packet)
            if not certain:
                following.add(packet)
            if possible:
                named = f"table {table.name}, chain {chain}, rule {number}"
                for end in _target(table, rule.words, packet, depth):
                    if end.verdict == _CONTINUE:
                        following.add(signed(packet, end.flow, named))
                    else:
                        found.add(replace(end, rule=end.rule or named))
        open_ends = following
        if not open_ends:
            break
    return found | {End(RETURN, packet) for packet in open_ends}


def signed(before: Flow, after: Flow, rule: str) -> Flow:
    """The packet after a rule, which signs it when it has given it another TTL, or taken it from connection tracking.

    Args:
        before: The packet that came to the rule.
        after: What became of it.
        rule: Where the rule is.
    """
    if after.ttl != before.ttl and not after.ttl_rule:
        after = replace(after, ttl_rule=rule)
    if after.mss_rule == CLAMPED:
        after = replace(after, mss_rule=rule)
    return replace(after, untracked=rule) if after.state == UNTRACKED != before.state else after


_CONTINUE: Final = "continue"

_PASSING: Final = {
    "", "LOG", "NFLOG", "ULOG", "TRACE", "CT", "TCPOPTSTRIP", "CHECKSUM", "CLASSIFY", "DSCP",
    "TOS", "ECN", "SET", "AUDIT", "SECMARK", "CONNSECMARK", "IDLETIMER", "LED", "RATEEST", "HMARK", "TEE",
}  # fmt: skip
"""Targets after which a packet goes on to the next rule (iptables-extensions(8))."""


def _target(table: Table, words: Sequence[str], packet: Flow, depth: int) -> Iterator[End]:
    target = _after(words, "-j") or _after(words, "-g")
    match target:
        case "ACCEPT" | "DROP" | "REJECT" | "MASQUERADE" | "SNAT" | "DNAT" | "RETURN":
            to = _after(words, "--to-destination") or _after(words, "--to-source")
            low, _, high = _after(words, "--to-ports").partition("-")
            yield End(
                target.lower(), packet, to=_host(to), port=_port_of(to) or (int(low) if low and low == high else 0)
            )
        case "REDIRECT":
            yield End(DNAT, packet, to=ITSELF, port=_port_of(f":{_after(words, '--to-ports')}"))
        case "NOTRACK" | "CT" | "TCPMSS" | "TTL" | "HL" | "MARK" | "CONNMARK":
            yield End(_CONTINUE, _changed(target, words, packet))
        case str() if target in table.chains:
            for end in _walk(table, target, packet, depth + 1):
                returned = end.verdict == RETURN and "-j" in words
                yield End(_CONTINUE, end.flow) if returned else end
        case str() if target in _PASSING:
            yield End(_CONTINUE, packet)
        case _:  # NFQUEUE, TPROXY, NETMAP …: another program decides, or the packet is changed
            yield End(UNKNOWN, packet)
            yield End(_CONTINUE, packet)


def _changed(target: str, words: Sequence[str], packet: Flow) -> Flow:
    """A packet after a target that changes it and lets it go on."""
    match target:
        case "TCPMSS":
            return replace(packet, mss_rule=packet.mss_rule or CLAMPED)
        case "TTL" | "HL":
            return replace(packet, ttl=_ttl(words, packet.ttl))
        case "MARK":
            return replace(packet, mark=_mark(words, packet.mark))
        case "CONNMARK":
            restores = any(word.startswith("--restore") for word in words)
            return replace(packet, mark=None) if restores else packet
        case _:
            untracked = target == "NOTRACK" or "--notrack" in words
            return replace(packet, state=UNTRACKED) if untracked else packet


def _host(destination: str) -> str:
    """The address of `10.0.0.1:80` and of `[fd00::1]:80`; empty for several."""
    address = destination.partition("]")[0][1:] if destination.startswith("[") else destination
    if not destination.startswith("[") and address.count(":") == 1:
        address = address.partition(":")[0]
    return "" if "-" in address else address


def _port_of(destination: str) -> int:
    """The port of `10.0.0.1:80` and of `[fd00::1]:80`; 0 for none, and for several."""
    _, colon, port = destination.rpartition(":")
    return int(port) if colon and port.isdecimal() and (destination.count(":") == 1 or "]:" in destination) else 0


def _ttl(words: Sequence[str], before: int) -> int:
    """What the targets TTL and HL leave (iptables-extensions(8))."""
    for option, value in itertools.pairwise(words):
        for name in ("--ttl-", "--hl-"):
            if option.startswith(name):
                number = int(value)
                return {"set": number, "dec": max(0, before - number), "inc": min(255, before + number)}[
                    option.removeprefix(name)
                ]
    return before


def _after(words: Sequence[str], option: str) -> str:
    return words[words.index(option) + 1] if option in words else ""


_WHOLE: Final = 0xFFFFFFFF

_MARKS: Final[Mapping[str, Callable[[int, int, int], int]]] = {
    "--or-mark": lambda mark, number, _: mark | number,
    "--and-mark": lambda mark, number, _: mark & number,
    "--xor-mark": lambda mark, number, _: mark ^ number,
    "--set-xmark": lambda mark, number, mask: (mark & ~mask) ^ number,
    "--set-mark": lambda mark, number, mask: (mark & ~mask) | number,
}


def _mark(words: Sequence[str], before: int | None) -> int | None:
    for option, value in itertools.pairwise(words):
        if option in _MARKS:
            number, _, text = value.partition("/")
            mask = int(text, 0) if text else _WHOLE
            replaced = option.startswith("--set") and mask == _WHOLE
            return None if before is None and not replaced else _MARKS[option](before or 0, int(number, 0), mask)
    return before


_SILENT: Final = {
    "-m", "--comment", "-j", "-g", "--to-source", "--to-destination", "--reject-with", "--to-ports", "--log-prefix",
    "--or-mark", "--and-mark", "--xor-mark", "--set-xmark", "--set-mark", "--set-mss", "--name", "--mask",
    "--nfacct-name", "--ttl-set", "--ttl-dec", "--ttl-inc", "--hl-set", "--hl-dec", "--hl-inc",
}  # fmt: skip
_FLAGS: Final = {"--random-fully", "--notrack", "--clamp-mss-to-pmtu", "--set", "--rsource", "--rdest"}
"""Options without a value that change nothing about the match; `recent --set` always matches."""


def _matches(words: Sequence[str], packet: Flow) -> tuple[bool, bool]:
    """Does a rule match: (certainly, possibly)."""
    certain = True
    position = 0
    negate = False
    while position < len(words):
        option = words[position]
        if option == "!":
            negate, position = True, position + 1
            continue
        if option in _FLAGS:
            position += 1
            continue
        value = words[position + 1] if position + 1 < len(words) else ""
        position += 2
        if option in _SILENT:
            continue
        holds = _condition(option, value, packet)
        if holds is None:
            certain = False
        elif holds is negate:
            return False, False
        negate = False
    return certain, True


def _condition(  # noqa: C901, PLR0911 - one return per match
    option: str, value: str, packet: Flow
) -> bool | None:
    """One match of iptables; None when it is not understood."""
    match option:
        case "-s" | "--source":
            return in_network(packet.src, value)
        case "-d" | "--destination":
            return in_network(packet.dst, value)
        case "-i":
            return _interface(packet.iif, value)
        case "-o":
            return _interface(packet.oif, value)
        case "-p":
            return value in {*_NUMBERS.get(packet.protocol, ()), packet.protocol, "all"}
        case "--dport" | "--dports":
            return any(_port(packet.dport, part) for part in value.split(","))
        case "--mark":
            number, _, mask = value.partition("/")
            return None if packet.mark is None else packet.mark & int(mask or "0xffffffff", 0) == int(number, 0)
        case "--ctstate":
            return bool({packet.state, "DNAT" if packet.dnated else ""} & set(value.split(",")))
        case "--length":
            return _port(packet.length, value)
        case "--dst-type":
            return packet.to_local if value == "LOCAL" else None
        case "--icmp-type" | "--icmpv6-type":
            return _icmp(value, packet)
        case _:
            return None


_ICMP: Final[Mapping[Family, Mapping[str, str]]] = {
    "ipv4": {"0": "echo-reply", "3": "destination-unreachable", "8": "echo-request", "11": "time-exceeded"},
    "ipv6": {
        "1": "destination-unreachable", "2": "packet-too-big", "3": "time-exceeded", "128": "echo-request",
        "129": "echo-reply", "133": "nd-router-solicit", "134": "nd-router-advert", "135": "nd-neighbor-solicit",
        "136": "nd-neighbor-advert",
    },
}  # fmt: skip
"""Types of ICMP messages as iptables saves them -> as nft(8) names them (IANA, ICMP and ICMPv6 Type Numbers)."""


def _icmp(value: str, packet: Flow) -> bool | None:
    """A type of ICMP, perhaps with a code, which is known of no packet: `8`, `3/4`, `255/any`."""
    number, _, code = value.partition("/")
    if packet.proto != "icmp":
        return False
    if number not in {"any", "255"} and _ICMP[packet.family].get(number) != packet.icmp:
        return False
    return None if code and code != "any" else True


def in_network(address: str, networks: str) -> bool:
    """True when an address is in one of the comma-separated networks."""
    return any(_address(address) in _network(one) for one in networks.split(","))


_address = cache(ipaddress.ip_address)


@cache
def _network(text: str) -> Range:
    return ipaddress.ip_network(text, strict=False)


def _interface(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def _port(port: int, text: str) -> bool:
    low, _, high = text.partition(":")
    return int(low) <= port <= int(high or low)
