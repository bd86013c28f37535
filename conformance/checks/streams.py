"""Numbered datagrams in one direction, counted where they arrive: no reply is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

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
        if arrived := _arrived(context, one, one.sent):
            return recorded(leg, one.sent, f"all of {one.sent} datagrams {arrived}: a busy machine", "count")
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
        if arrived := _arrived(context, one, lost):
            return recorded(leg, lost, f"{lost} of {one.sent} datagrams {arrived}: a busy machine", "count")
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


def _arrived(context: Context, one: Burst, lost: int) -> str:
    """How datagrams arrived that the responder did not count; empty when the network may have lost them."""
    if socket_overflows(context, one.dst) >= lost:
        return f"reached {one.dst}, but its socket was full"
    kernel = udp_arrivals(context, one.dst)
    # As many as are doubtful may stand in for others that were lost; of more, some were counted too late for certain.
    if kernel.counted >= kernel.certain > 0 and lost > kernel.doubtful:
        return f"reached the kernel of {one.dst}, but were counted too late"
    return ""


def socket_overflows(context: Context, pod: str) -> int:
    """Datagrams that arrived at a pod during the mesh and found a full socket (Udp: RcvbufErrors)."""
    return _rise(context, pod, f"{_UDP[context.family]}.RcvbufErrors")


class Arrivals(NamedTuple):
    """Datagrams that a pod's kernel delivered (Udp: InDatagrams), and how many there should be.

    Args:
        counted: By the kernel.
        certain: That were sent to the pod, if none was lost: requests that were answered, answers, streams.
        doubtful: That may have arrived besides: retries, and requests that were never answered.
    """

    counted: int
    certain: int
    doubtful: int


def udp_arrivals(context: Context, pod: str) -> Arrivals:
    """What a pod's kernel says of the mesh: an oracle beside the responder's own count.

    Args:
        context: The run, as one family shows it.
        pod: Whose kernel.
    """
    ip = context.site(pod).ip
    talk = [one for group in context.exchanges.values() for one in group if one.batch == "B1" and one.proto == "udp"]
    own = {pod, "localhost"}
    inside = [one for one in talk if one.src == pod and one.dst in own]
    asked = [one for one in talk if one.dst == pod and one.dial.startswith(f"{host_of(ip)}:") and one.src != pod]
    answers = [one for one in talk if one.src == pod and one.dst not in own and one.outcome == "ok"]
    streams = [one for group in context.bursts.values() for one in group if one.dst == pod]
    # Inside a pod a request and its answer are both delivered there.
    here = [*inside, *inside, *asked, *answers]
    certain = sum(one.outcome == "ok" for one in here)
    doubtful = sum(one.attempts for one in here) - certain
    counted = _rise(context, pod, f"{_UDP[context.family]}.InDatagrams")
    return Arrivals(counted, certain + sum(one.sent for one in streams), doubtful)


_UDP: Mapping[Family, str] = {"ipv4": "Udp", "ipv6": "Udp6"}
"""Groups of counters: /proc/net/snmp, and /proc/net/snmp6."""


def _rise(context: Context, pod: str, counter: str) -> int:
    read: list[Any] = [context.batched_dumps.get((batch, "pod", pod, "counters")) for batch in ("B0", "B1")]
    if any(map(reason, read)):
        return 0
    before, after = read
    return int(after.get(counter, 0)) - int(before.get(counter, 0))
