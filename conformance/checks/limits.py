"""Limits: connections, tables of the kernel that fill up, and what was dropped meanwhile."""

from __future__ import annotations

from typing import Any, Final

from conformance.asked import unreported
from conformance.context import Context
from conformance.dumps import reason, rows, unread
from conformance.legs import any_ok, broken, census, control, failed, passed, where
from conformance.maths import limit_name, neighbour_entries
from conformance.model import Check, Verdict
from conformance.nft import drop_counters
from harness.model.records import Churn, Leg

HEADROOM = 0.8
"""Share of the conntrack table that may be used."""

COUNTERS = ("conntrack.insert_failed", "conntrack.drop", "conntrack.early_drop")


def churn(context: Context) -> Verdict:
    """500 connections one after the other and 200 at once, without one error."""
    legs = []
    for one in context.churns:
        leg = f"{one.src}>{one.dst}/tcp"
        total = one.sequential + one.parallel - one.untried
        if one.outcome == "error":
            legs.append(broken(leg, f"the probe itself failed: {one.detail}"))
        elif one.connected == total and not one.errors:
            legs.append(_made(one, leg))
        else:
            kinds = (
                ", ".join(
                    f"{count} x {'errno ' if kind.isdigit() else ''}{kind}"
                    for kind, count in sorted(one.errors.items())
                )
                or "deadline"
            )
            legs.append(
                failed(
                    leg,
                    "lost",
                    f"{total - one.connected} of {total} connections from {where(context.site(one.src))} to "
                    f"{where(context.site(one.dst))} failed: {kinds}",
                    total,
                    one.connected,
                    "count",
                )
            )
    legs += unreported(context, "churn")
    return Verdict(
        tuple(legs),
        (control("P1", any_ok(context.exchanges.get("mesh", ())), "single connections work"),),
        summary="; ".join(
            f"{one.src} to {one.dst}: {one.connected} connections, p99 {one.p99_us or 0} us" for one in context.churns
        ),
    )


ENOUGH: Final = 100
"""Connections in a row that say enough, on a machine that has no time for all of them."""


def _made(one: Churn, leg: str) -> Leg:
    """All connections were made for which there was time."""
    tried = one.sequential - one.untried
    if tried < min(ENOUGH, one.sequential):
        text = f"this machine had time for {tried} of {one.sequential} connections in a row, all of which were made"
        return broken(leg, f"{text}: --timeout-scale 4 gives it more", "slow")
    return passed(leg, one.sequential + one.parallel - one.untried, one.connected, "count")


def conntrack_headroom(context: Context) -> Verdict:
    """The connection table is at most 80 % full."""
    legs: list[Leg] = []
    for node in context.inventory.nodes:
        read = context.attempt("node", node.name, "sysctl")
        values = read or {}
        count, most = (values.get(f"net.netfilter.nf_conntrack_{name}") for name in ("count", "max"))
        if count is None or not most:
            legs.append(unread(node.name, node.name, "sysctl", read))
            continue
        legs.append(_headroom(node.name, int(count), int(most)))
    return Verdict(
        tuple(legs),
        (control("inv", _headroom("sample", 90, 100).status == "fail", "a table that is 90 % full fails"),),
        summary="connection tables in use: "
        + ", ".join(f"{leg.leg} {leg.observed:.1%}" for leg in legs if leg.status == "pass"),
    )


def _headroom(node: str, count: int, most: int) -> Leg:
    share = count / most
    text = f"the connection table of {node} holds {count} of {most} entries"
    return (
        passed(node, HEADROOM, share, "ratio")
        if share < HEADROOM
        else failed(node, "wrong-value", text, HEADROOM, share, "ratio")
    )


def conntrack_counters(context: Context) -> Verdict:
    """During the mesh no packet was dropped by the connection table or by a rule."""
    legs: list[Leg] = []
    for node in context.inventory.nodes:
        counters, rules = (_asked(context, node.name, what) for what in ("counters", "rules-nft"))
        if any(map(reason, counters)):
            legs.append(unread(node.name, node.name, "counters", *counters))
            continue
        if any(map(reason, rules)) and not all(map(reason, rules)):
            legs.append(unread(node.name, node.name, "rules", *rules))  # one alone says nothing of what rose
            continue
        before, after = map(_drops, counters, rules)
        rises = {key: value - before.get(key, 0) for key, value in after.items() if value > before.get(key, 0)}
        text = f"while pods talked, {node.name} dropped packets: " + ", ".join(
            f"{key} +{rise}" for key, rise in rises.items()
        )
        legs.append(
            passed(node.name, {}, {}, "count") if not rises else failed(node.name, "lost", text, {}, rises, "count")
        )
    return Verdict(
        tuple(legs),
        (
            census(sum(leg.status != "error" for leg in legs), len(context.inventory.nodes), "nodes"),
            control("P1", any_ok(context.exchanges.get("mesh", ())), "packets crossed the nodes in between"),
        ),
        summary=f"no drop counter of {len(legs)} nodes rose during the mesh",
    )


def _drops(counters: Any, rules: Any) -> dict[str, int]:
    """Packets dropped so far: by the connection table, and by rules that count."""
    return {key: int(counters.get(key, 0)) for key in COUNTERS} | drop_counters(rows(rules))


def _asked(context: Context, node: str, what: str) -> list[Any]:
    """What a node's kernel said before and after the mesh."""
    return [context.batched_dumps.get((batch, "node", node, what)) for batch in ("B0", "B1")]


def neighbours(context: Context) -> Verdict:
    """A full mesh fits the kernel's neighbour table of a family, which all nodes of one kernel share."""
    first = context.inventory.nodes[0].name
    read = context.attempt("node", first, "kernel")
    facts = read or {}
    # Entries are counted node by node: a pod whose node is not known would be counted nowhere.
    counted = sum(len(context.inventory.on(node.name)) for node in context.inventory.nodes)
    needed = neighbour_entries(len(context.inventory.pods), len(context.inventory.nodes), context.family)
    shared = bool(facts.get("shared", True))
    limit = facts.get(limit_name(context.family))
    if limit is None:
        return Verdict((unread("kernel", first, "kernel", read),))
    leg = _entries(needed, int(limit), "the kernel of all nodes" if shared else "a node's kernel")
    return Verdict(
        (leg,),
        (
            census(counted, len(context.inventory.pods), "pods"),
            control("inv", _entries(needed, needed // 2, "").status == "fail", "a table for half of the entries fails"),
        ),
        summary=f"up to {needed} of {limit} neighbour entries",
    )


def _entries(needed: int, limit: int, whose: str) -> Leg:
    if needed < limit:
        return passed("kernel", limit, needed, "count")
    text = f"a full mesh needs up to {needed} neighbour entries, but {whose} keeps only {limit}"
    return failed("kernel", "wrong-value", text, limit, needed, "count")


CHECKS: tuple[Check, ...] = (
    Check(
        "conn.churn", "500 connections in a row and 200 at once succeed", "M", "B1", churn,
        gates=("multi",), after=("model.pod-pod.cross-node",),
        causes=("conntrack table full", "a connection limit", "port reuse"),
        next=("nstat -az", "conntrack -S", "nft list ruleset"),
    ),
    Check(
        "ct.headroom", "the connection table has room", "S", "B0", conntrack_headroom,
        once=True, gates=("node",), inverse="a table that is 90 % full fails",
        causes=("leak", "small table"), next=("conntrack -S", "sysctl net.netfilter.nf_conntrack_max"),
    ),
    Check(
        "ct.counters", "no packet is dropped by the connection table or a rule", "S", "B1", conntrack_counters,
        once=True, gates=("node",), needs=("B0",), causes=("table full", "connection limit"),
        next=("conntrack -S", "nft -a list ruleset"),
    ),
    Check(
        "neigh.headroom", "a full mesh fits the neighbour table", "S", "B0", neighbours,
        gates=("neigh",), inverse="a table for half of the entries fails",
        causes=("all namespaces share one table",), next=("sysctl -a --pattern neigh.default.gc_thresh3",),
    ),
)  # fmt: skip
