"""Numbered datagrams in one direction, counted where they arrive: no reply is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from conformance.asked import unreported
from conformance.context import Context
from conformance.dumps import reason
from conformance.legs import any_ok, broken, census, control, failed, passed, recorded, where
from conformance.model import Verdict
from conformance.pairs import node_pairs
from harness.model.family import Family, host_of
from harness.model.records import Burst, Leg


def _burst_legs(bursts: Iterable[Burst], judge: Callable[[Burst, str], Leg]) -> list[Leg]:
    legs = []
    for one in bursts:
        leg = f"{one.src}>{one.dst}/udp"
        if one.received is None:
            legs.append(broken(leg, f"the count at {one.dst} is not known: {one.detail or one.outcome}"))
        else:
            legs.append(judge(one, leg))
    return legs


def one_way(context: Context) -> Verdict:
    """Each direction delivers on its own; no reply is needed, so a broken way back does not hide a working one."""

    def judge(one: Burst, leg: str) -> Leg:
        if one.received:
            return passed(leg, f"1..{one.sent}", one.received, "count")
        src, dst = where(context.inventory.by_name.get(one.src), one.src), where(context.site(one.dst), one.dst)
        return failed(
            leg,
            "lost",
            f"none of {one.sent} datagrams from {src} arrived at {dst}; the other direction is judged on its own",
            f"1..{one.sent}",
            0,
            "count",
        )

    seen = context.bursts.get("one-way", ())
    return Verdict(
        (*_burst_legs(seen, judge), *unreported(context, "one-way")),
        (
            control(
                "P1",
                any_ok(one for one in context.exchanges.get("self", ()) if one.proto == "udp"),
                "UDP works inside a pod",
            ),
            census(len(seen), len(node_pairs(context.inventory)), "node pairs"),
        ),
        summary=f"{len(seen)} directions between nodes worked on their own",
    )


def loss(context: Context) -> Verdict:
    """First-try datagrams, counted where they arrive."""

    def judge(one: Burst, leg: str) -> Leg:
        lost = one.sent - (one.received or 0)
        if lost <= 0:
            return passed(leg, 0, lost, "count")
        full = socket_overflows(context, one.dst)
        arrived, expected = udp_arrivals(context, one.dst)
        if full >= lost or arrived >= expected > 0:
            late = f"{one.dst} but its socket was full" if full else f"the kernel of {one.dst}but were counted too late"
            text = f"{lost} of {one.sent} datagrams reached {late}: a busy machine"
            return recorded(leg, lost, text, "count")
        src, dst = where(context.inventory.by_name.get(one.src), one.src), where(context.site(one.dst), one.dst)
        return failed(leg, "lost", f"{lost} of {one.sent} datagrams from {src} to {dst} were lost", 0, lost, "count")

    seen = context.bursts.get("loss", ())
    total = sum(one.sent for one in seen)
    return Verdict(
        (*_burst_legs(seen, judge), *unreported(context, "loss")),
        (
            control("P1", any_ok(context.exchanges.get("self", ())), "a pod reaches itself"),
            census(len(seen), len(node_pairs(context.inventory)), "node pairs"),
        ),
        summary=f"{total} datagrams between {len(seen)} node pairs, none lost",
    )


def socket_overflows(context: Context, pod: str) -> int:
    """Datagrams that arrived at a pod during the mesh and found a full socket (Udp: RcvbufErrors)."""
    return _rise(context, pod, f"{_UDP[context.family]}.RcvbufErrors")


def udp_arrivals(context: Context, pod: str) -> tuple[int, int]:
    """Datagrams that a pod's kernel delivered during the mesh (Udp: InDatagrams), and how many there should be.

    An oracle beside the responder's own count: requests to the pod, answers to its requests, and all streams. Every
    retry is counted as one more, so that a retry cannot make up for a lost datagram.
    """
    ip = context.site(pod).ip
    talk = [one for group in context.exchanges.values() for one in group if one.batch == "B1" and one.proto == "udp"]
    own = {pod, "localhost"}
    inside = [one for one in talk if one.src == pod and one.dst in own]
    asked = [one for one in talk if one.dst == pod and one.dial.startswith(f"{host_of(ip)}:") and one.src != pod]
    answers = [one for one in talk if one.src == pod and one.dst not in own and one.outcome == "ok"]
    streams = [one for group in context.bursts.values() for one in group if one.dst == pod]
    expected = sum(2 * one.attempts for one in inside) + sum(one.attempts for one in (*asked, *answers))
    return _rise(context, pod, f"{_UDP[context.family]}.InDatagrams"), expected + sum(one.sent for one in streams)


_UDP: Mapping[Family, str] = {"ipv4": "Udp", "ipv6": "Udp6"}
"""Groups of counters: /proc/net/snmp, and /proc/net/snmp6."""


def _rise(context: Context, pod: str, counter: str) -> int:
    read: list[Any] = [context.batched_dumps.get((batch, "pod", pod, "counters")) for batch in ("B0", "B1")]
    if any(map(reason, read)):
        return 0
    before, after = read
    return int(after.get(counter, 0)) - int(before.get(counter, 0))
