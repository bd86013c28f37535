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

Json = Mapping[str, Any]

ACCEPT, DROP, REJECT, MASQUERADE, SNAT, DNAT, RETURN = (
    "accept", "drop", "reject", "masquerade", "snat", "dnat", "return",
)  # fmt: skip
FINAL: Final = {ACCEPT, DROP, REJECT, MASQUERADE, SNAT, DNAT}
COMPAT_TABLES: Final = {"filter", "nat", "mangle", "raw", "security"}
"""Tables of iptables-nft: `iptables-save` shows them readably, `nft -j` does not."""


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
        return f"{self.src} > {self.dst}:{self.dport}/{self.proto}"


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
            return value in {packet.proto, "all"}
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


# nftables


def nft_verdicts(ruleset: Sequence[Json], kind: str, hook: str, flow: Flow) -> set[str]:
    """Possible verdicts of all base chains of a hook together, tables of iptables-nft left out.

    A drop or a translation in any of them counts; otherwise the packet is accepted.

    Args:
        ruleset: The `nftables` list of `nft -j list ruleset`.
        kind: filter or nat.
        hook: forward, postrouting …
        flow: The packet.
    """
    chains: dict[tuple[str, str, str], list[Json]] = {}
    bases: list[Json] = []
    for entry in ruleset:
        if chain := entry.get("chain"):
            chains.setdefault(_key(chain, chain["name"]), [])
            if chain.get("type") == kind and chain.get("hook") == hook and not _compat(chain):
                bases.append(chain)
        elif rule := entry.get("rule"):
            chains.setdefault(_key(rule, rule["chain"]), []).append(rule)
    found: set[str] = set()
    decided = False
    for base in bases:
        policy = base.get("policy", ACCEPT)
        outcomes = {
            policy if verdict == RETURN else verdict for verdict in _nft_walk(chains, _key(base, base["name"]), flow, 0)
        }
        found |= outcomes
        decided = decided or ACCEPT not in outcomes
    return found - {ACCEPT} if decided else found | {ACCEPT}


def drop_counters(ruleset: Sequence[Json]) -> dict[str, int]:
    """Packets that rules with a counter and a drop have dropped, by table, chain and handle."""
    found: dict[str, int] = {}
    for entry in ruleset:
        rule = entry.get("rule") or {}
        expressions = [one for one in rule.get("expr", ()) if isinstance(one, Mapping)]
        counted = next((one["counter"] for one in expressions if isinstance(one.get("counter"), Mapping)), None)
        if counted is not None and any("drop" in one for one in expressions):
            found[f"{rule['table']} {rule['chain']} {rule.get('handle', 0)}"] = int(counted["packets"])
    return found


def _key(entry: Json, name: str) -> tuple[str, str, str]:
    return str(entry["family"]), str(entry["table"]), name


def _compat(chain: Json) -> bool:
    return chain["family"] in {"ip", "ip6"} and chain["table"] in COMPAT_TABLES


def _nft_walk(
    chains: Mapping[tuple[str, str, str], list[Json]], key: tuple[str, str, str], flow: Flow, depth: int
) -> set[str]:
    ends: set[str] = set()
    if depth > 16:
        return {RETURN}
    for rule in chains.get(key, ()):
        certain, possible, verdict = _nft_rule(rule.get("expr", ()), flow)
        if not possible or not verdict:
            continue
        if verdict.startswith(("jump ", "goto ")):
            inner = _nft_walk(chains, (key[0], key[1], verdict[5:]), flow, depth + 1)
            ends |= inner - {RETURN}
            if certain and (RETURN not in inner or verdict.startswith("goto ")):
                return ends | (inner & {RETURN})
        else:
            ends.add(verdict)
            if certain:
                return ends
    return ends | {RETURN}


def _nft_rule(expressions: Sequence[Any], flow: Flow) -> tuple[bool, bool, str]:
    """(certainly, possibly, verdict) of a rule; an empty verdict lets the packet go on."""
    certain = True
    for expression in expressions:
        if not isinstance(expression, Mapping):
            continue
        if match := expression.get("match"):
            holds = _nft_match(match, flow)
            if holds is False:
                return False, False, ""
            certain = certain and holds is True
            continue
        if verdict := _nft_verdict(expression):
            return certain, True, verdict
    return certain, True, ""


def _nft_verdict(expression: Json) -> str:
    for name in (ACCEPT, DROP, REJECT, RETURN, MASQUERADE, SNAT, DNAT):
        if name in expression:
            return name
    for name in ("jump", "goto"):
        if name in expression:
            return f"{name} {expression[name]['target']}"
    return ""


def _nft_match(match: Json, flow: Flow) -> bool | None:
    left, right, operator = match["left"], match["right"], match.get("op", "==")
    holds = _nft_value(left, right, flow)
    if holds is None:
        return None
    return not holds if operator == "!=" else holds


def _nft_value(  # noqa: PLR0911 - one return per expression
    left: Any, right: Any, flow: Flow
) -> bool | None:
    match left:
        case {"payload": {"protocol": "ip", "field": ("saddr" | "daddr") as name}}:
            return _nft_address(flow.src if name == "saddr" else flow.dst, right)
        case {"payload": {"protocol": ("tcp" | "udp" | "th") as proto, "field": "dport"}}:
            if proto not in {flow.proto, "th"}:
                return False
            return flow.dport == right if isinstance(right, int) else _nft_set(flow.dport, right)
        case {"meta": {"key": ("iifname" | "oifname") as name}}:
            return _nft_set(flow.iif if name == "iifname" else flow.oif, right)
        case {"meta": {"key": "l4proto"}}:
            return _nft_set(flow.proto, right)
        case {"meta": {"key": "mark"}}:
            return bool(flow.mark == right)
        case {"&": [{"meta": {"key": "mark"}}, int() as mask]}:
            return bool(flow.mark & mask == right)
        case {"ct": {"key": "state"}}:
            return _nft_set(flow.state.lower(), right)
        case _:
            return None


def _nft_set(value: Any, right: Any) -> bool | None:
    match right:
        case {"set": list() as members}:
            return value in members
        case list():
            return value in right
        case str() if right.endswith("*"):
            return str(value).startswith(right[:-1])
        case str() if right.startswith("@"):
            return None
        case _:
            return bool(value == right)


def _nft_address(address: str, right: Any) -> bool | None:
    match right:
        case {"prefix": {"addr": str() as network, "len": int() as length}}:
            return in_network(address, f"{network}/{length}")
        case {"set": list() as members}:
            found = [_nft_address(address, member) for member in members]
            return True if True in found else None if None in found else False
        case {"range": [str() as low, str() as high]}:
            return ipaddress.ip_address(low) <= ipaddress.ip_address(address) <= ipaddress.ip_address(high)  # type: ignore[operator]
        case str() if not right.startswith("@"):
            return address == right
        case _:
            return None
