"""What netfilter would do with a packet, computed from saved rules: `iptables-save` and `nft -j list ruleset`.

Only what CNI plugins, their agents and kube-proxy write is understood. A match that is not understood may or may not
hold, so an evaluation gives the *set* of possible verdicts; one element means that the rules decide.
"""

from __future__ import annotations

import ipaddress
import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from harness.model.family import Family, endpoint, family_of_dial

Json = Mapping[str, Any]

ACCEPT, DROP, REJECT, MASQUERADE, SNAT, DNAT, RETURN = (
    "accept", "drop", "reject", "masquerade", "snat", "dnat", "return",
)  # fmt: skip
FINAL: Final = {ACCEPT, DROP, REJECT, MASQUERADE, SNAT, DNAT}


_NUMBERS: Final[Mapping[str, tuple[str, ...]]] = {"ipv6-icmp": ("icmpv6", "icmp6", "58")}
"""Other names of protocols (RFC 4443; iptables-extensions(8))."""


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
        mark: Packet mark.
        to_local: The destination is an address of this node.
    """

    src: str
    dst: str
    iif: str = ""
    oif: str = ""
    proto: str = "tcp"
    dport: int = 8080
    state: str = "NEW"
    mark: int = 0
    to_local: bool = False

    def __str__(self) -> str:
        """`10.244.1.2 > 8.8.8.8:8080/tcp`."""
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
class Rule:
    """A rule of iptables-save: its words, without table and chain."""

    words: tuple[str, ...]
    text: str


@dataclass
class Table:
    """A table of iptables-save."""

    policies: dict[str, str] = field(default_factory=dict)
    chains: dict[str, list[Rule]] = field(default_factory=dict)


@cache
def parse(text: str) -> Mapping[str, Table]:
    """Tables of an `iptables-save` output, with or without counters."""
    tables: dict[str, Table] = {}
    table = Table()
    for line in text.splitlines():
        if line.startswith("*"):
            table = tables.setdefault(line[1:].strip(), Table())
        elif line.startswith(":"):
            name, policy, *_ = line[1:].split()
            table.policies[name] = policy.lower()
            table.chains.setdefault(name, [])
        elif " -A " in f" {line}":
            words = shlex.split(line)
            if words[0].startswith("["):
                words = words[1:]
            table.chains.setdefault(words[1], []).append(Rule(tuple(words[2:]), line))
    return tables


def verdicts(tables: Mapping[str, Table], table: str, chain: str, flow: Flow) -> set[str]:
    """Possible verdicts of a built-in chain, its policy included."""
    found = tables.get(table)
    if found is None or chain not in found.chains:
        return {ACCEPT}
    outcomes = _walk(found, chain, flow, 0)
    policy = found.policies.get(chain, ACCEPT)
    return {policy if verdict == RETURN else verdict for verdict, _ in outcomes}


def _walk(table: Table, chain: str, flow: Flow, depth: int) -> set[tuple[str, Flow]]:
    """Ends of a chain: pairs of verdict and packet, whose mark may have changed."""
    if depth > 16:
        return {(RETURN, flow)}
    open_ends, ends = {flow}, set[tuple[str, Flow]]()
    for rule in table.chains.get(chain, ()):
        following: set[Flow] = set()
        for packet in open_ends:
            certain, possible = _matches(rule.words, packet)
            if not certain:
                following.add(packet)
            if possible:
                for verdict, after in _target(table, rule.words, packet, depth):
                    if verdict == "continue":
                        following.add(after)
                    else:
                        ends.add((verdict, after))
        open_ends = following
        if not open_ends:
            break
    return ends | {(RETURN, packet) for packet in open_ends}


def _target(table: Table, words: Sequence[str], packet: Flow, depth: int) -> Iterator[tuple[str, Flow]]:
    target = _after(words, "-j") or _after(words, "-g")
    match target:
        case "ACCEPT" | "DROP" | "REJECT" | "MASQUERADE" | "SNAT" | "DNAT" | "RETURN":
            yield target.lower(), packet
        case "REDIRECT":
            yield DNAT, packet
        case "MARK":
            yield "continue", replace(packet, mark=_mark(words, packet.mark))
        case str() if target in table.chains:
            for verdict, after in _walk(table, target, packet, depth + 1):
                yield ("continue" if verdict == RETURN and "-j" in words else verdict), after
        case _:
            yield "continue", packet


def _after(words: Sequence[str], option: str) -> str:
    return words[words.index(option) + 1] if option in words else ""


def _mark(words: Sequence[str], mark: int) -> int:
    for option, value in itertools.pairwise(words):
        number, _, mask = value.partition("/")
        match option:
            case "--or-mark":
                return mark | int(number, 0)
            case "--and-mark":
                return mark & int(number, 0)
            case "--xor-mark":
                return mark ^ int(number, 0)
            case "--set-xmark":
                return (mark & ~int(mask or "0xffffffff", 0)) ^ int(number, 0)
            case "--set-mark":
                return (mark & ~int(mask or "0xffffffff", 0)) | int(number, 0)
            case _:
                pass
    return mark


_SILENT: Final = {
    "-m", "--comment", "-j", "-g", "--to-source", "--to-destination", "--reject-with", "--to-ports", "--log-prefix",
    "--or-mark", "--and-mark", "--xor-mark", "--set-xmark", "--set-mark",
}  # fmt: skip
_FLAGS: Final = {"--random-fully"}


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


def _condition(  # noqa: PLR0911 - one return per match
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
            return packet.mark & int(mask or "0xffffffff", 0) == int(number, 0)
        case "--ctstate":
            return packet.state in value.split(",")
        case "--dst-type":
            return packet.to_local if value == "LOCAL" else None
        case _:
            return None


def in_network(address: str, networks: str) -> bool:
    """True when an address is in one of the comma-separated networks."""
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(one, strict=False) for one in networks.split(","))


def _interface(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def _port(port: int, text: str) -> bool:
    low, _, high = text.partition(":")
    return int(low) <= port <= int(high or low)
