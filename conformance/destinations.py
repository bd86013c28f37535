"""Rules that send a certain destination somewhere else, read from saved rules: for sentences on who answered instead.

Only rules that name the destination are found. kube-proxy's own do so in another chain than the one that translates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.netfilter import in_network, parse
from conformance.nft import chain_key, is_compat
from harness.model.family import endpoint

Json = Mapping[str, Any]

ANYWHERE = frozenset({"0.0.0.0/0", "::/0"})


@dataclass(frozen=True)
class Translation:
    """A rule that changes a destination.

    Args:
        to: Address and port, as far as the rule says.
        rule: Where the rule is.
        hook: prerouting or output, in small letters; empty for a chain that others jump to.
    """

    to: str
    rule: str
    hook: str = ""

    def meets(self, *, local: bool) -> bool:
        """True when packets of a node's own programs (local), or of its pods, can come to the rule."""
        return self.hook in {"", "output" if local else "prerouting"}


def translations(text: str | None, ruleset: Sequence[Json], address: str, port: int) -> list[Translation]:
    """Rules that name a destination and give its packets another one.

    Args:
        text: Of iptables-save; None where it was not read.
        ruleset: The `nftables` list of `nft -j list ruleset`.
        address: Destination address.
        port: Destination port.
    """
    found = list(_of_iptables(text, address, port)) if text else []
    return [*found, *_of_nft(ruleset, address, port)]


def _of_iptables(text: str, address: str, port: int) -> Iterator[Translation]:
    nat = parse(text).get("nat")
    for chain, rules in (nat.chains if nat is not None else {}).items():
        hook = chain.lower() if chain in {"PREROUTING", "OUTPUT"} else ""
        for rule in rules:
            words = dict(zip(rule.words, rule.words[1:], strict=False))
            if "!" in rule.words or "-d" not in words or words["-d"] in ANYWHERE:
                continue
            if in_network(address, words["-d"]) and words.get("--dport", str(port)) == str(port):
                to = words.get("--to-destination", "") or (words.get("--to-ports", "") and "the node itself")
                if words.get("-j") in {"DNAT", "REDIRECT"} and to:
                    yield Translation(to, f"iptables, table nat, chain {chain}", hook)


def _of_nft(ruleset: Sequence[Json], address: str, port: int) -> Iterator[Translation]:
    hooks = {chain_key(one, one["name"]): str(one.get("hook", "")) for entry in ruleset if (one := entry.get("chain"))}
    for entry in ruleset:
        rule = entry.get("rule") or {}
        if not rule or is_compat(rule):
            continue
        expressions = [one for one in rule.get("expr", ()) if isinstance(one, Mapping)]
        changed = next((one["dnat"] for one in expressions if isinstance(one.get("dnat"), Mapping)), None)
        to = changed.get("addr") if changed is not None else None
        if isinstance(to, str) and _names(expressions, address, port):
            where = f"table {rule['family']} {rule['table']}, chain {rule['chain']}"
            given = changed.get("port", port) if changed is not None else port
            yield Translation(
                endpoint(to, given) if isinstance(given, int) else to,
                where,
                hooks.get(chain_key(rule, rule["chain"]), ""),
            )


def _names(expressions: Sequence[Json], address: str, port: int) -> bool:
    """True when matches name the address, and no other port."""
    named = False
    for one in expressions:
        match one.get("match"):
            case {"op": "==", "left": {"payload": {"field": "daddr"}}, "right": right}:
                if not _holds(right, address):
                    return False
                named = True
            case {"op": "==", "left": {"payload": {"field": "dport"}}, "right": int() as right}:
                if right != port:
                    return False
    return named


def _holds(right: Any, address: str) -> bool:
    match right:
        case {"prefix": {"addr": str() as network, "len": int() as length}}:
            return length > 0 and in_network(address, f"{network}/{length}")
        case {"set": list() as members}:
            return any(_holds(member, address) for member in members)
        case _:
            return bool(right == address)
