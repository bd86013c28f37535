"""What the rules of nodes would do with packets: forward those of pods, and translate those alone that leave.

Every judge here also holds a stored rule set against itself, through the same reading, evaluation and rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from conformance.context import Context
from conformance.dumps import unread
from conformance.flows import (
    decided,
    decisions,
    dropped,
    node_to_outside,
    pod_to_outside,
    pod_to_pod,
    rules,
    translated,
)
from conformance.legs import census, control, failed, passed
from conformance.model import Verdict
from conformance.netfilter import Flow
from conformance.nft import Ruleset
from harness.model.records import Evidence, Leg


def forwarding(context: Context) -> Verdict:
    """By the rules of every node, traffic of pods is forwarded."""
    legs, evidence = _spared(
        context,
        (
            (node.name, f"{node.name}/{name}/{flow.proto}", name, flow)
            for node in context.inventory.nodes
            for name, flow in (*pod_to_pod(context, node), *pod_to_outside(context, node))
            if not name.startswith("same node")  # bridged, and seen by FORWARD only with bridge-nf-call-iptables
        ),
        Hook("filter", "forward", dropped, "accept"),
    )
    return Verdict(
        tuple(legs),
        (control("P5", _stops(), "a stored policy DROP is found, and its exception too"),),
        tuple(evidence[:4]),
        summary=f"{len(legs)} 5-tuples of pods are forwarded by the rules of all nodes",
    )


def masquerade_rules(context: Context) -> Verdict:
    """By the rules of every node, its pods' traffic to the outside is masqueraded, the node's own is not."""
    legs: list[Leg] = []
    for node in context.inventory.nodes:
        cases = [(name, flow, True) for name, flow in pod_to_outside(context, node)]
        cases += [(name, flow, False) for name, flow in node_to_outside(context, node)]
        for name, flow, wanted in cases:
            found = decisions(context, node.name, "nat", "postrouting", flow)
            leg = f"{node.name}/{name}/{flow.proto}"
            if found is None:
                legs.append(unread(leg, node.name, "rules", *rules(context, node.name)))
                continue
            what = "masquerade" if wanted else "accept"
            good = translated(found) if wanted else not translated(found)
            text = f"the rules of {node.name} would {' or '.join(sorted(found))} {flow} ({name}), not {what} it"
            legs.append(
                passed(leg, what, sorted(found)) if good else failed(leg, "wrong-value", text, what, sorted(found))
            )
    return Verdict(
        tuple(legs),
        (control("P5", _translates(), "a stored masquerade rule is found, and its exception too"),),
        summary=f"{len(legs)} 5-tuples to the outside match the variant in the rules of all nodes",
    )


def scope(context: Context) -> Verdict:
    """By the rules of every node, traffic between pods is never translated."""
    legs, evidence = _spared(
        context,
        (
            (node.name, f"{node.name}/{name}", name, flow)
            for node in context.inventory.nodes
            for name, flow in pod_to_pod(context, node)
        ),
        Hook("nat", "postrouting", translated, "no translation"),
    )
    examined = {leg.leg.partition("/")[0] for leg in legs if leg.status != "error"}
    wanted = sum(bool(context.inventory.on(node.name)) for node in context.inventory.nodes)
    return Verdict(
        tuple(legs),
        (
            control("P5", _translates(), "a stored masquerade rule is found, and its exception too"),
            census(len(examined), wanted, "nodes with pods"),
        ),
        tuple(evidence[:4]),
        summary=f"{len(legs)} 5-tuples between pods pass the rules of all nodes untranslated",
    )


class Hook(NamedTuple):
    """A hook of netfilter, and what must not happen to packets there."""

    kind: str
    name: str
    wrong: Callable[[set[str]], bool]
    wanted: str


def _spared(
    context: Context, asked: Iterable[tuple[str, str, str, Flow]], hook: Hook
) -> tuple[list[Leg], list[Evidence]]:
    """What rules do with packets that they must let alone, and the evaluation of those that they do not.

    Args:
        context: The run.
        asked: Nodes, legs, and packets with their names.
        hook: Where, and what would be wrong.
    """
    legs: list[Leg] = []
    evidence: list[Evidence] = []
    for node, leg, name, flow in asked:
        found = decisions(context, node, hook.kind, hook.name, flow)
        if found is None:
            legs.append(unread(leg, node, "rules", *rules(context, node)))
        elif hook.wrong(found):
            text = f"the rules of {node} would {' or '.join(sorted(found))} {flow} ({name})"
            legs.append(failed(leg, "unexpected", text, hook.wanted, sorted(found)))
            evidence.append(Evidence(kind="rule-eval", detail={"node": node, "flow": str(flow)}))
        else:
            legs.append(passed(leg, hook.wanted, sorted(found)))
    return legs, evidence


_OWN: Final = "10.0.0.0/16"
_FILTER: Final = f"*filter\n:FORWARD DROP [0:0]\n-A FORWARD -s {_OWN} -j ACCEPT\nCOMMIT\n"
_NAT: Final = (
    "*nat\n:POSTROUTING ACCEPT [0:0]\n"
    f"-A POSTROUTING -s {_OWN} -d {_OWN} -j RETURN\n-A POSTROUTING -s {_OWN} -j MASQUERADE\nCOMMIT\n"
)
_WITHIN: Final = Flow("10.0.1.2", "10.0.2.2")
_LEAVING: Final = Flow("10.0.1.2", "8.8.8.8")
_FOREIGN: Final = Flow("192.0.2.1", "8.8.8.8")


def _stops() -> bool:
    """The stored policy stops a packet, and its exception does not."""
    stopped = [dropped(decided(_FILTER, Ruleset(), "filter", "forward", flow)) for flow in (_FOREIGN, _LEAVING)]
    return stopped == [True, False]


def _translates() -> bool:
    """The stored rule translates a packet, and its exception does not."""
    changed = [translated(decided(_NAT, Ruleset(), "nat", "postrouting", flow)) for flow in (_LEAVING, _WITHIN)]
    return changed == [True, False]
