"""All rules of a node, of every backend, from its dumps. Pure."""

from __future__ import annotations

from typing import Any, Final

from conformance.context import Context
from conformance.dumps import reason, rows
from conformance.flows import nft_rules
from conformance.hooks import NodeRules, incompatible
from conformance.netfilter import Flow, parse
from conformance.nft import ChainKey, of_iptables, ruleset

LEGACY: Final = "iptables-legacy"
SUBJECTS: Final = ("rules-nft", "rules-iptables", "rules-legacy", "legacy-tables", "hook-devices")
"""What of a node has to be read."""

_ANY: Final = {"ipv4": ("192.0.2.1", "192.0.2.2"), "ipv6": ("2001:db8::1", "2001:db8::2")}
_COMPATIBLE: Final = frozenset({"filter", "nat", "mangle", "raw", "security"})


def node_rules(context: Context, node: str) -> NodeRules | None:
    """The rules of a node in the family that is looked at, read once for all who ask; None: they are not known.

    Args:
        context: The run, for one family.
        node: Which.
    """
    known: dict[str, NodeRules | None] = context.memo.setdefault("node-rules", {})
    if node not in known:
        known[node] = _read(context, node)
    return known[node]


def _read(context: Context, node: str) -> NodeRules | None:
    nft, saved, legacy, named, at = said = [context.attempt("node", node, what) for what in SUBJECTS]
    hidden = reason(saved) and (not rows(nft) or of_iptables(rows(nft), Flow(*_ANY[context.family])))
    text = saved if isinstance(saved, str) else ""
    modern = "(nf_tables)" in text.partition("\n")[0] or not text
    old = modern and _old_tables(named, context)
    if hidden or reason(nft) or None in said or reason(named) or (old and reason(legacy)):
        return None
    tables = {"iptables" if modern else LEGACY: parse(text)} | ({LEGACY: parse(legacy)} if old else {})
    native = incompatible(text) if modern else _COMPATIBLE
    return NodeRules(nft_rules(context, node), tables, native, devices(at))


def pod_rules(context: Context, pod: str) -> NodeRules | None:
    """The rules of a pod's own network namespace; None: it was not asked, and rules there are rare.

    Args:
        context: The run, for one family.
        pod: Which.
    """
    saved, nft = (context.attempt("pod", pod, what) for what in ("rules-iptables", "rules-nft"))
    if saved is None or nft is None or reason(saved) or reason(nft):
        return None
    text = saved if isinstance(saved, str) else ""
    return NodeRules(ruleset(rows(nft)), {"iptables": parse(text)}, incompatible(text), {})


def devices(said: Any) -> dict[ChainKey, list[str]]:
    """Devices of chains at their hooks, from the dump of them."""
    return {(row["family"], row["table"], row["chain"]): list(row["devices"]) for row in rows(said)}


def _old_tables(named: Any, context: Context) -> bool:
    """Whether the kernel has tables of iptables-legacy, which it names."""
    name = "ip6_tables_names" if context.family == "ipv6" else "ip_tables_names"
    return any(path.endswith(name) and text.strip() for path, text in (named or {}).items())
