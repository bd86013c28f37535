"""What nftables would do with a packet, computed from `nft -j list ruleset`. The same rules as for iptables apply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from conformance.netfilter import (
    ACCEPT,
    CLAMPED,
    DNAT,
    DROP,
    ITSELF,
    MASQUERADE,
    REJECT,
    RETURN,
    SNAT,
    UNKNOWN,
    UNTRACKED,
    End,
    Flow,
    Json,
    signed,
)
from conformance.nft_match import Sets, chosen, holds, value

ChainKey = tuple[str, str, str]
"""Family, table and name of a chain."""

COMPAT_TABLES: Final = {"filter", "nat", "mangle", "raw", "security"}
"""Tables of iptables-nft: `iptables-save` shows them readably, `nft -j` does not."""


@dataclass(frozen=True)
class Ruleset:
    """What `nft -j list ruleset` says, by chain.

    Args:
        bases: Chains at a hook, in the order in which packets meet them.
        chains: Rules of each chain.
        sets: Members of named sets and maps, by family and table.
    """

    bases: tuple[Json, ...] = ()
    chains: Mapping[ChainKey, Sequence[Json]] = field(default_factory=dict)
    sets: Mapping[tuple[str, str], Sets] = field(default_factory=dict)


def ruleset(entries: Sequence[Json]) -> Ruleset:
    """Chains, rules and sets of a list.

    Args:
        entries: The `nftables` list of `nft -j list ruleset`.
    """
    bases: list[Json] = []
    chains: dict[ChainKey, list[Json]] = {}
    sets: dict[tuple[str, str], dict[str, Sequence[Any] | None]] = {}
    for entry in entries:
        if chain := entry.get("chain"):
            chains.setdefault(chain_key(chain, chain["name"]), [])
            bases += [chain] if "hook" in chain else []
        elif rule := entry.get("rule"):
            chains.setdefault(chain_key(rule, rule["chain"]), []).append(rule)
        elif named := entry.get("set") or entry.get("map"):
            moving = {"dynamic", "timeout"} & set(named.get("flags", ()))
            members = None if moving else named.get("elem", ())
            sets.setdefault((named["family"], named["table"]), {})[named["name"]] = members
    return Ruleset(tuple(sorted(bases, key=lambda chain: int(chain.get("prio", 0)))), chains, sets)


def nft_verdicts(rules: Ruleset, kind: str, hook: str, flow: Flow) -> set[str]:
    """Possible verdicts of all base chains of a hook together, tables of iptables-nft left out.

    A drop or a translation in any of them counts; otherwise the packet is accepted.

    Args:
        rules: All of them.
        kind: filter or nat.
        hook: forward, postrouting …
        flow: The packet.
    """
    found: set[str] = set()
    decided = False
    for base in rules.bases:
        if (base.get("type"), base["hook"]) == (kind, hook) and _sees(base, flow) and not is_compat(base):
            outcomes = {end.verdict for end in base_ends(rules, base, flow)}
            found |= outcomes
            decided = decided or ACCEPT not in outcomes
    return found - {ACCEPT} if decided else found | {ACCEPT}


def base_ends(rules: Ruleset, base: Json, flow: Flow) -> set[End]:
    """How a packet's way through a base chain can end, its policy included.

    Args:
        rules: All of them.
        base: The chain.
        flow: The packet.
    """
    policy = base.get("policy", ACCEPT)
    by_policy = "" if policy == ACCEPT else f"the policy of {_title(base, base['name'])}"
    return {
        replace(end, verdict=policy, rule=by_policy) if end.verdict == RETURN else end
        for end in _walk(rules, chain_key(base, base["name"]), flow, 0)
    }


def of_iptables(ruleset: Sequence[Json], flow: Flow) -> bool:
    """Whether iptables-nft has rules that a packet may meet: `nft -j` shows no more of them than that they are there.

    Args:
        ruleset: The `nftables` list of `nft -j list ruleset`.
        flow: The packet.
    """
    return any(_sees(rule, flow) and is_compat(rule) for entry in ruleset if (rule := entry.get("rule")))


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


def chain_key(entry: Json, name: str) -> ChainKey:
    """By which a chain is known: family, table and name.

    Args:
        entry: The chain, or a rule in it.
        name: Of the chain.
    """
    return str(entry["family"]), str(entry["table"]), name


def _sees(chain: Json, flow: Flow) -> bool:
    """A table of one family sees no packet of the other (nft(8), address families)."""
    return {"ip": "ipv4", "ip6": "ipv6"}.get(str(chain["family"]), flow.family) == flow.family


def is_compat(chain: Json) -> bool:
    """A chain or a rule of a table of iptables-nft."""
    return chain["family"] in {"ip", "ip6"} and chain["table"] in COMPAT_TABLES


def _title(entry: Json, chain: str) -> str:
    return f"table {entry['family']} {entry['table']}, chain {chain}"


def _walk(rules: Ruleset, key: ChainKey, flow: Flow, depth: int) -> set[End]:
    """Ends of a chain; those without a verdict return."""
    if depth > 16:
        return {End(RETURN, flow)}
    open_ends, found = {flow}, set[End]()
    for number, rule in enumerate(rules.chains.get(key, ()), start=1):
        following: set[Flow] = set()
        for packet in open_ends:
            for end in _rule(rules, rule, packet, depth):
                named = f"{_title(rule, key[2])}, rule {number}"
                if end.verdict == _CONTINUE:
                    following.add(signed(packet, end.flow, named))
                else:
                    found.add(replace(end, rule=end.rule or named))
        open_ends = following
        if not open_ends:
            break
    return found | {End(RETURN, packet) for packet in open_ends}


_CONTINUE: Final = "continue"

_PASSING: Final = {"counter", "log", "set", "map", "flow", "ct helper", "ct timeout", "comment", "reset"}
"""Statements after which a packet certainly goes on in its rule (nft(8), statements)."""

_FOREIGN: Final = {"queue", "tproxy", "synproxy", "fwd", "unknown"}
"""Statements by which another program, or another device, decides."""


def _rule(  # noqa: C901 - one branch per kind of statement
    rules: Ruleset, rule: Json, packet: Flow, depth: int
) -> Iterator[End]:
    """What a rule does with a packet: verdicts, and the packet that goes on to the next rule."""
    sets = rules.sets.get((rule["family"], rule["table"]), {})
    certain, before, verdicts = True, packet, list[Json]()
    for expression in rule.get("expr", ()):
        name, body = next(iter(expression.items())) if isinstance(expression, Mapping) else (expression, {})
        held: bool | None = True
        if name == "match":
            held = holds(body, packet, sets)
        elif name == "mangle":
            packet = _mangled(body, packet)
        elif name == "notrack":
            packet = replace(packet, state=UNTRACKED)
        elif name == "vmap":
            verdicts, held = chosen(body, packet, sets)
        elif name in _TERMINAL:
            verdicts = [expression]
        elif name not in _PASSING:
            held = None  # a limit, a quota, a match of iptables …
            if name in _FOREIGN:
                yield End(UNKNOWN, packet)
        certain = certain and held is True
        if held is False or verdicts:
            break
    for verdict in verdicts or [{_CONTINUE: None}]:
        yield from _verdict(rules, rule, verdict, packet, depth)
    if not certain:
        yield End(_CONTINUE, before)


_TERMINAL: Final = {ACCEPT, DROP, REJECT, RETURN, MASQUERADE, SNAT, DNAT, "redirect", "jump", "goto"}


_IP: Final = {"ipv4": "ip", "ipv6": "ip6"}


def _verdict(rules: Ruleset, rule: Json, expression: Json, packet: Flow, depth: int) -> Iterator[End]:
    """What a verdict, or a jump, does with a packet."""
    name, body = next(iter(expression.items()))
    if name in {"jump", "goto"}:
        for end in _walk(rules, chain_key(rule, body["target"]), packet, depth + 1):
            yield End(_CONTINUE, end.flow) if end.verdict == RETURN and name == "jump" else end
    elif name == "continue":
        yield End(_CONTINUE, packet)
    elif name == "redirect":
        port = body.get("port") if isinstance(body, Mapping) else 0
        yield End(DNAT, packet, to=ITSELF, port=_single(port))
    elif isinstance(body, Mapping) and body.get("family", own := _IP[packet.family]) != own:
        yield End(_CONTINUE, packet)  # `dnat ip to` is for IPv4 alone
    else:
        to, port = (body.get("addr"), body.get("port")) if isinstance(body, Mapping) else ("", 0)
        named = {"to": to if isinstance(to, str) else "", "port": _single(port)}
        yield End(name if name in _TERMINAL else UNKNOWN, packet, **named)  # type: ignore[arg-type]  # of two kinds


def _single(port: Any) -> int:
    """The port of a translation that has one alone; 0: another form, or several."""
    match port:
        case {"range": [int() as low, int() as high]} if low == high:
            return low
        case int():
            return port
        case _:
            return 0


def _mangled(body: Json, packet: Flow) -> Flow:
    """A packet whose mark, TTL or segment size a rule has set; nothing else that rules set is looked at."""
    key, given = body.get("key"), value(body.get("value"), packet)
    if key == {"tcp option": {"name": "maxseg", "field": "size"}}:
        return replace(packet, mss_rule=packet.mss_rule or CLAMPED)
    if key in _TTLS.get(packet.family, ()):
        return replace(packet, ttl=given) if isinstance(given, int) else packet
    if key != {"meta": {"key": "mark"}}:
        return packet
    return replace(packet, mark=given if isinstance(given, int) else None)


_TTLS: Final[Mapping[str, tuple[Json, ...]]] = {
    "ipv4": ({"payload": {"protocol": "ip", "field": "ttl"}},),
    "ipv6": ({"payload": {"protocol": "ip6", "field": "hoplimit"}},),
}
"""What a rule sets that gives packets another TTL."""
