"""Nodes that leave and nodes that join: what other nodes do then, and what their pods notice of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.checks.robust import DARK_MS, paced
from conformance.context import Context
from conformance.disturbance import SELF, bystanders, lost_node, reunited
from conformance.dumps import rows
from conformance.inventory import NodeFact
from conformance.legs import (
    answered_by,
    broken,
    check_value,
    control,
    evidence_of,
    failed,
    names,
    passed,
    reached,
    recorded,
    where,
)
from conformance.model import Check, Verdict
from harness.model.disturbed import Stream
from harness.model.family import TITLE
from harness.model.records import Evidence, Leg

Json = Mapping[str, Any]


def robust_loss(context: Context) -> Verdict:
    """Other nodes forget a node that left, and their pods notice nothing of it."""
    lost = context.inventory.node(lost_node(context.inventory))
    found = {(str(row["node"]), str(row["kind"])): row for row in rows(context.api("node-loss"))
             if row["dst"] == lost.pod_cidr}  # fmt: skip
    kinds = ("route", "fdb") if context.gates.get("fdb") else ("route",)
    legs: list[Leg] = []
    for node in context.inventory.nodes:
        if node.name != lost.name:
            legs += [_forgotten(node.name, kind, lost.name, found.get((node.name, kind))) for kind in kinds]
    legs.append(_share(context.api("node-join"), lost))
    flows = {
        (one.src, one.dst): one for one in context.observations if isinstance(one, Stream) and one.purpose == "loss"
    }
    own = [one for one in flows.values() if one.dst == SELF]
    for src, target in bystanders(context.inventory):
        if target.name != SELF:
            legs.append(_stream(context, flows.get((src.name, target.name)), f"{src.name}>{target.name}/udp", own))
    there = sum(bool(row["before"]) for row in found.values())
    times = [row["seconds"] for row in found.values() if row["before"] and row["seconds"] is not None]
    return Verdict(
        tuple(legs),
        (
            control("P6", there, f"other nodes had {there} kinds of entries for {lost.name} before"),
            control("P1", own and all(map(paced, own)), f"{len(own)} streams of a pod to itself kept their pace"),
        ),
        _kernel(found, legs),
        summary=f"other nodes forgot {lost.name} after {max(times, default=0.0):.1f} s, "
        f"and lost {sum(one.lost for one in flows.values())} datagrams between each other",
    )


def _forgotten(node: str, kind: str, lost: str, row: Json | None) -> Leg:
    leg = f"{node}/{kind}"
    what = {"route": "routes", "fdb": "forwarding entries"}[kind]
    if row is None or row["before"] is None or row["left"] is None:
        return broken(leg, f"the {what} of {node} to {lost} were not read", "missing")
    if not row["before"]:
        return recorded(leg, 0, f"{node} had no {what} to {lost} that could go", "count")
    if row["seconds"] is not None:
        return passed(leg, "none", row["seconds"], "s", f"{node} had no {what} to {lost} {row['seconds']:.1f} s later")
    text = f"{node} still has {what} to {lost}, which has left: {names(row['left'])}"
    return failed(leg, "unexpected", text, "none", len(row["left"]), "count")


def _share(data: Json | None, lost: NodeFact) -> Leg:
    """Nobody else was given the node's share, and it has it again."""
    leg, shares = f"{lost.name}/share", (data or {}).get("shares") or {}
    if lost.name not in shares:
        return broken(leg, f"the share of {lost.name} was not read after it came back", "missing")
    owners = sorted(node for node, cidrs in shares.items() if lost.pod_cidr in cidrs)
    text = f"after {lost.name} left and came back, its share {lost.pod_cidr} belongs to {names(owners)}"
    return check_value(leg, [lost.name], owners, text, unit="cidr")


def _stream(context: Context, one: Stream | None, name: str, own: list[Stream]) -> Leg:
    if one is None:
        return broken(name, f"the stream {name} was not reported", "missing")
    if one.outcome == "error" or one.received is None:
        return broken(name, f"the probe itself failed on {name}: {one.detail or 'nothing was counted'}")
    source, target = (where(context.inventory.by_name.get(end), end) for end in (one.src, one.dst))
    text = (
        f"{source} lost {one.lost} of {one.sent} datagrams to {target} while another node left and came back, "
        f"for {one.dark_ms:.0f} ms in a row"
    )
    beside = max((other.dark_ms for other in own), default=0.0)
    if one.dark_ms <= DARK_MS:
        return passed(name, f"at most {DARK_MS:.0f}", one.dark_ms, "ms", text)
    if beside * 2 >= one.dark_ms:
        return recorded(name, one.dark_ms, f"{text}, but what a pod sent to itself was away for {beside:.0f} ms", "ms")
    return failed(name, "lost", text, f"at most {DARK_MS:.0f}", one.dark_ms, "ms")


def _kernel(found: Mapping[tuple[str, str], Json], legs: list[Leg]) -> tuple[Evidence, ...]:
    bad = {leg.leg for leg in legs if leg.status == "fail"}
    return tuple(
        Evidence(kind="kernel", detail={"node": node, "kind": kind, "before": row["before"], "left": row["left"]})
        for (node, kind), row in found.items()
        if f"{node}/{kind}" in bad
    )[:4]


def robust_join(context: Context) -> Verdict:
    """A node that joins is reached from all others, and reaches them."""
    data: Json = context.api("node-join") or {}
    lost = lost_node(context.inventory)
    ways = reunited(context.inventory)
    seen = [context.exchange("joined", src.name, target.name, "tcp") for src, target in ways]
    legs: list[Leg] = []
    for (src, target), one in zip(ways, seen, strict=True):
        name = f"{src.name}>{target.name}/tcp"
        if data.get("collected"):
            legs.append(broken(name, f"pods of {lost} were taken away meanwhile: {names(data['collected'])}"))
            continue
        leg = answered_by(context, one, reached(context, one, name), target.name)
        if leg.status == "fail":
            agent = data.get("agent")
            since = f"its agent was ready after {agent:.1f} s" if agent is not None else "none of its agents got ready"
            leg = leg.model_copy(update={"statement": f"{leg.statement}, after {lost} joined; {since}"})
        legs.append(leg)
    before, away = (
        [context.exchange(purpose, src.name, target.name, "tcp") for src, target in ways]
        for purpose in ("join-before", "join-away")
    )
    worked = sum(one is not None and one.outcome == "ok" for one in before)
    silent = sum(one is not None and one.outcome not in {"ok", "error"} for one in away)
    took = (data.get("seconds") or {}).get(TITLE[context.family])
    return Verdict(
        tuple(legs),
        (
            control("P6", worked == len(ways), f"{worked} of {len(ways)} ways worked before {lost} left"),
            control("inv", silent, f"{silent} of {len(ways)} ways did not work while it was away"),
        ),
        evidence_of(seen, legs),
        summary=f"{len(legs)} ways to and from {lost} worked {took or 0.0:.1f} s after it joined",
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "robust.loss", "other nodes forget a node that left, and notice nothing else of it", "S", "B8", robust_loss,
        gates=("dis", "multi", "agent", "ncidr", "node"), after=("node.underlay",),
        causes=("the agent's watch of nodes is broken",),
        next=("ip route", "bridge fdb show dev {overlay}", "kubectl get nodes -o wide"),
    ),
    Check(
        "robust.join", "a node that joins is reached from all others, and reaches them", "S", "B8", robust_join,
        gates=("dis", "multi", "agent", "ncidr", "node"), after=("node.underlay",),
        causes=("the agent's watch of nodes is broken", "the new node's agent does not get ready"),
        next=("ip route", "kubectl get nodes -o yaml", "kubectl get pods -A -o wide"),
    ),
)  # fmt: skip
