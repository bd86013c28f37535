"""Whose address the far end sees: recorded, because designs differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from conformance.checks.reach import Pair, node_to_pod, pod_to_node
from conformance.context import Context
from conformance.dumps import reason, rows, unread
from conformance.legs import control, recorded, unanswered, where
from conformance.maths import split_endpoint
from conformance.model import Check, Judge, Verdict
from harness.model.records import Leg


def classify_source(context: Context, address: str) -> str:
    """Whose address it is: a pod's, a node's, a bridge gateway's, a tunnel device's, or none of them."""
    if any(site.ip == address for site in context.inventory.pods):
        return "pod"
    for node in context.inventory.nodes:
        if node.address == address:
            return "node"
        for link in rows(context.attempt("node", node.name, "addr")):
            held = {info.get("local") for info in link.get("addr_info", ())}
            if address in held:
                if link.get("ifname") == context.expect.overlay_device:
                    return "tunnel"
                return "gateway" if link.get("ifname") == context.expect.bridge else "node"
    return "other"


def _unread_links(context: Context) -> list[Leg]:
    """Legs of nodes whose addresses are not known: nobody can say that a source is none of theirs."""
    read = {node.name: context.attempt("node", node.name, "addr") for node in context.inventory.nodes}
    return [unread(name, name, "addr", data) for name, data in read.items() if reason(data) or not rows(data)]


def _sources(pairs: Callable[[Context], tuple[Pair, ...]], expected: Callable[[Context], str], text: str) -> Judge:
    """A judge that writes down which source the far end saw, by class of address."""

    def judge(context: Context) -> Verdict:
        found: dict[str, list[str]] = defaultdict(list)
        legs: list[Leg] = []
        for src, dst in pairs(context):
            one = context.exchange("host", src.name, dst.name, "tcp")
            leg = f"{src.name}>{dst.name}/source"
            if one is None or one.outcome != "ok":
                legs.append(unanswered(context, one, leg, "whom the far end sees"))
                continue
            address = split_endpoint(one.peer)[0]
            kind = classify_source(context, address)
            found[kind].append(address)
            legs.append(recorded(leg, f"{kind} {address}", f"{where(dst)} saw {where(src)} as {address}"))
        legs += _unread_links(context)
        hosts = {site.name for site in context.inventory.hosts}
        nodes = [one for one in context.exchanges.get("host", ()) if {one.src, one.dst} <= hosts]
        inverse = [classify_source(context, split_endpoint(one.peer)[0]) for one in nodes if one.outcome == "ok"]
        summary = f"{text}: " + ", ".join(f"{kind} ({len(items)} legs)" for kind, items in sorted(found.items()))
        known = sum(map(len, found.values()))
        controls = (
            control("P4", known, f"{known} legs with a source"),
            control(
                "inv",
                set(inverse) <= {"node", "gateway", "tunnel"} and "node" in inverse,
                f"node to node must classify as node: {sorted(set(inverse))}",
            ),
        )
        declared = expected(context)
        return Verdict(tuple(legs), controls, summary=f"{summary}; declared: {declared}")

    return judge


def _remote(context: Context) -> tuple[Pair, ...]:
    return node_to_pod(local=False)(context)


def _remote_back(context: Context) -> tuple[Pair, ...]:
    return pod_to_node(local=False)(context)


CHECKS: tuple[Check, ...] = (
    Check(
        "model.node-pod.source", "which source address a remote pod sees of a node", "R", "B1",
        _sources(_remote, lambda context: context.expect.node_to_pod_source, "pods see other nodes as"),
        gates=("multi", "hosts", "node"), after=("node.underlay",), needs=("B0",),
        inverse="node to node classifies as node",
    ),
    Check(
        "model.pod-node.source", "which source address a remote node sees of a pod", "R", "B1",
        _sources(_remote_back, lambda context: context.expect.pod_to_node_source, "nodes see remote pods as"),
        gates=("multi", "hosts", "node"), after=("node.underlay",), needs=("B0",),
        inverse="node to node classifies as node",
    ),
)  # fmt: skip
