"""What nftables would do with a packet, computed from `nft -j list ruleset`. The same rules as for iptables apply."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final

from conformance.netfilter import ACCEPT, DNAT, DROP, MASQUERADE, REJECT, RETURN, SNAT, Flow, Json, in_network

COMPAT_TABLES: Final = {"filter", "nat", "mangle", "raw", "security"}
"""Tables of iptables-nft: `iptables-save` shows them readably, `nft -j` does not."""


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
            chains.setdefault(chain_key(chain, chain["name"]), [])
            if chain.get("type") == kind and chain.get("hook") == hook and _sees(chain, flow) and not is_compat(chain):
                bases.append(chain)
        elif rule := entry.get("rule"):
            chains.setdefault(chain_key(rule, rule["chain"]), []).append(rule)
    found: set[str] = set()
    decided = False
    for base in bases:
        policy = base.get("policy", ACCEPT)
        outcomes = {
            policy if verdict == RETURN else verdict
            for verdict in _nft_walk(chains, chain_key(base, base["name"]), flow, 0)
        }
        found |= outcomes
        decided = decided or ACCEPT not in outcomes
    return found - {ACCEPT} if decided else found | {ACCEPT}


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


def chain_key(entry: Json, name: str) -> tuple[str, str, str]:
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


def _nft_value(  # noqa: C901, PLR0911 - one return per expression
    left: Any, right: Any, flow: Flow
) -> bool | None:
    match left:
        case {"payload": {"protocol": ("ip" | "ip6") as family, "field": ("saddr" | "daddr") as name}}:
            if (family == "ip6") != (flow.family == "ipv6"):
                return False
            return _nft_address(flow.src if name == "saddr" else flow.dst, right)
        case {"meta": {"key": "nfproto"}}:
            return _nft_set(flow.family, right)
        case {"payload": {"protocol": ("tcp" | "udp" | "th") as proto, "field": "dport"}}:
            if proto not in {flow.proto, "th"}:
                return False
            return flow.dport == right if isinstance(right, int) else _nft_set(flow.dport, right)
        case {"meta": {"key": ("iifname" | "oifname") as name}}:
            return _nft_set(flow.iif if name == "iifname" else flow.oif, right)
        case {"meta": {"key": "l4proto"}}:
            return _nft_set(flow.protocol, right)
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
