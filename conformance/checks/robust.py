"""What a network does while it is disturbed: its agents restart, and its routes and rules are deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from conformance.checks.resolver import percentiles
from conformance.context import Context
from conformance.disturbance import SELF, answerers, held, streams
from conformance.legs import WORDS, broken, census, check_value, control, failed, names, passed, recorded, where
from conformance.model import Check, Verdict
from harness.model.disturbed import Held, Repair, Restart, Stream, Thing
from harness.model.records import Control, Evidence, Leg

DARK_MS: Final = 1000.0
"""Milliseconds without a packet that a restart may cost: the first time-out of TCP (RFC 6298 §2.1) bridges them."""

SLOWEST: Final = 0.5
"""Part of the wanted pace below which a stream says nothing: its sender did not get the processor."""

WHAT: Final[dict[str, str]] = {"routes": "route", "rules": "rule"}


def restarts(context: Context) -> list[Restart]:
    """All restarts of agents."""
    return [one for one in context.observations if isinstance(one, Restart)]


def trials(context: Context) -> range:
    """Restarts that there were to be, by number."""
    told = [one.trials for one in restarts(context)]
    asked = [one for one in context.observations if isinstance(one, Stream | Held)]
    told += [one.trial + 1 for one in asked if one.purpose in {"restart", "idle"}]
    return range(max(told, default=0))


def unasked(context: Context) -> list[Leg]:
    """A leg for every node and restart that was not reported."""
    seen = {(one.src, one.trial) for one in restarts(context)}
    return [
        broken(f"{node.name}/agent/{trial}", f"restart {trial} of the agent of {node.name} was not reported", "missing")
        for node in context.inventory.nodes
        for trial in trials(context)
        if (node.name, trial) not in seen
    ]


def robust_restart(context: Context) -> Verdict:
    """Agents come back, and pods hardly notice that they were away."""
    found = restarts(context)
    legs = [_returned(one) for one in found] + unasked(context)
    flows = [one for one in context.observations if isinstance(one, Stream) and one.purpose == "restart"]
    for src, target in streams(context.inventory):
        if target.name != SELF:
            legs += _stream_legs(context, src.name, target.name, flows)
    own = [one for one in flows if one.dst == SELF]
    times = [one.seconds for one in found if one.seconds is not None]
    took = f"; others were ready after {min(times):.1f} to {max(times):.1f} s" if times else ""
    return Verdict(
        tuple(legs),
        (
            control("P6", any(one.before for one in found), "nodes had agents before"),
            control(
                "P1", own and all(paced(one) for one in own), f"{len(own)} streams of a pod to itself kept their pace"
            ),
        ),
        _evidence(found, legs),
        summary=f"{_lost(flows)} in {len(trials(context))} restarts of all agents{took}",
    )


def _returned(one: Restart) -> Leg:
    leg = f"{one.src}/agent/{one.trial}"
    if one.seconds is not None:
        return passed(leg, "another agent", one.seconds, "s")
    gone = "was ended" if one.before else "was not there before it could be ended"
    text = f"the agent of {one.src} {gone}, and none was ready {one.waited:.1f} s later: {one.seen}"
    return failed(leg, "missing", text, "another agent", one.seen)


def _stream_legs(context: Context, src: str, dst: str, flows: Sequence[Stream]) -> Iterator[Leg]:
    """One leg for a way, over all restarts; errors for those that were not reported."""
    name = f"{src}>{dst}/udp"
    seen = {one.trial: one for one in flows if (one.src, one.dst) == (src, dst)}
    own = {one.trial: one for one in flows if one.dst == SELF}
    for trial in trials(context):
        if trial not in seen:
            yield broken(f"{name}/{trial}", f"the stream {name} of restart {trial} was not reported", "missing")
        elif seen[trial].outcome == "error" or seen[trial].received is None:
            detail = seen[trial].detail or "nothing was counted"
            yield broken(f"{name}/{trial}", f"the probe itself failed on {name}: {detail}")
    known = [one for one in seen.values() if one.received is not None and one.outcome != "error"]
    if not known:
        return
    worst = max(known, key=lambda one: one.dark_ms)
    beside = own[worst.trial].dark_ms if worst.trial in own else 0.0
    text = _sentence(context, worst)
    if worst.dark_ms <= DARK_MS:
        yield passed(name, f"at most {DARK_MS:.0f}", worst.dark_ms, "ms", f"{text}: {_spread(known)}")
    elif beside * 2 >= worst.dark_ms:
        yield recorded(name, worst.dark_ms, f"{text}, but what it sent to itself was away for {beside:.0f} ms", "ms")
    else:
        yield failed(name, "lost", text, f"at most {DARK_MS:.0f}", worst.dark_ms, "ms")


def _sentence(context: Context, one: Stream) -> str:
    source, target = (where(context.inventory.by_name.get(name), name) for name in (one.src, one.dst))
    return (
        f"{source} lost {one.lost} of {one.sent} datagrams to {target} while the agents restarted, "
        f"for {one.dark_ms:.0f} ms in a row"
    )


def _spread(flows: Sequence[Stream]) -> str:
    """p50 and p95 over restarts; with a single one they are its own."""
    dark = [one.dark_ms for one in flows]
    middle, high = percentiles(dark) if len(dark) > 1 else (dark[0], dark[0])
    return f"p50 {middle:.0f} ms, p95 {high:.0f} ms of {len(dark)} restarts"


def _lost(flows: Sequence[Stream]) -> str:
    over = [one for one in flows if one.dst != SELF and one.received is not None]
    dark = max((one.dark_ms for one in over), default=0.0)
    return (
        f"{sum(one.lost for one in over)} of {sum(one.sent for one in over)} datagrams were lost, at most "
        f"{dark:.0f} ms in a row"
    )


def paced(one: Stream) -> bool:
    """Its sender had the processor for at least half of its time: otherwise what arrived says nothing."""
    return one.outcome != "error" and one.sent * one.pace_ms >= one.ms * SLOWEST and bool(one.received)


def _evidence(found: Sequence[Restart], legs: Sequence[Leg]) -> tuple[Evidence, ...]:
    if not any(leg.status == "fail" for leg in legs):
        return ()
    return tuple(
        Evidence(
            kind="api",
            detail={"node": one.src, "trial": one.trial, "before": one.before, "after": one.after, "seen": one.seen},
        )
        for one in found[:4]
    )


def cidr_stable(context: Context) -> Verdict:
    """A node's share of the cluster CIDR is after a restart what it was before."""
    found = restarts(context)
    legs = unasked(context)
    for one in found:
        leg = f"{one.src}/{one.trial}"
        if not one.share_before:
            legs.append(broken(leg, f"the share of {one.src} was not read", "unread"))
            continue
        legs.append(_same(one, leg))
    first = next((one for one in found if one.share_before), None)
    return Verdict(
        tuple(legs),
        (
            census(len({one.src for one in found}), len(context.inventory.nodes), "nodes"),
            _notices(first),
        ),
        summary=f"{len({one.src for one in found})} nodes kept their shares over {len(trials(context))} restarts",
    )


def _same(one: Restart, leg: str) -> Leg:
    text = f"{one.src} had {names(one.share_before)} before its agent restarted, and has {names(one.share_after)} since"
    return check_value(leg, sorted(one.share_before), sorted(one.share_after), text, unit="cidr")


def _notices(one: Restart | None) -> Control:
    """A share that is another one is noticed: the rule, on what was read and then changed."""
    if one is None:
        return control("inv", ok=False, detail="no share was read")
    other = one.model_copy(update={"share_after": ("podCIDR 192.0.2.0/24", *one.share_before[1:])})
    noticed = _same(other, "sample").status == "fail"
    return control("inv", noticed, "another first share would be noticed")


def conn_idle(context: Context) -> Verdict:
    """A connection works after it was idle, and after agents have restarted."""
    flows = [one for one in context.observations if isinstance(one, Held)]
    legs: list[Leg] = []
    wanted = [("idle", 0), *(("restart", trial) for trial in trials(context))]
    for src, target in held(context.inventory):
        for purpose, trial in wanted:
            name = f"{src.name}>{target.name}/tcp/{purpose}" + (f"-{trial}" if purpose == "restart" else "")
            key = (src.name, target.name, purpose, trial)
            one = next((one for one in flows if (one.src, one.dst, one.purpose, one.trial) == key), None)
            if target.name != SELF:
                legs.append(_held_leg(context, one, name))
    own = [one for one in flows if one.dst == SELF]
    seconds = max((one.ms for one in flows if one.purpose == "idle"), default=0.0) / 1000
    return Verdict(
        tuple(legs),
        (
            control(
                "P1",
                len(own) >= len(wanted) and all(one.outcome == "ok" for one in own),
                f"{len(own)} connections of a pod to itself were held to the end",
            ),
            control("P6", any(one.before == "ok" for one in flows if one.dst != SELF), "connections worked at first"),
        ),
        _held_evidence(flows, legs),
        summary=f"{len(legs)} connections worked after {seconds:.0f} s, or after {len(trials(context))} restarts",
    )


def _held_leg(context: Context, one: Held | None, name: str) -> Leg:
    if one is None:
        return broken(name, f"the probe did not report {name}", "missing")
    source = where(context.inventory.by_name.get(one.src), one.src)
    if one.before != "ok":
        return recorded(name, one.before, f"{source} got no answer from {one.dial} at first: nothing could be held")
    if one.outcome == "error":
        return broken(name, f"the probe itself failed on {name}: {one.detail}")
    after = "the network's agents restarted" if one.purpose == "restart" else f"{one.ms / 1000:.0f} s"
    if one.outcome != "ok":
        words = WORDS.get(one.outcome, f"ended with {one.outcome} at")
        text = f"{source} {words} {one.dial} ({one.dst}) over a connection that had worked, after {after}"
        return failed(name, one.outcome, text, "ok", one.outcome)
    wanted = answerers(context.inventory, one.src, one.dst)
    if one.token not in wanted:
        text = f"{source} was answered by {one.token or 'nobody with a name'} over a connection to {one.dst}"
        return failed(name, "wrong-peer", text, list(wanted), one.token)
    return passed(name, "ok", "ok")


def _held_evidence(flows: Sequence[Held], legs: Sequence[Leg]) -> tuple[Evidence, ...]:
    bad = {leg.leg for leg in legs if leg.status == "fail"}
    return tuple(
        Evidence(kind="socket", detail=one.model_dump(mode="json", include={"src", "dial", "source", "errno", "ms"}))
        for one in flows
        if any(name.startswith(f"{one.src}>{one.dst}/") for name in bad)
    )[:4]


def node_heal(context: Context) -> Verdict:
    """What the network promises to repair comes back by itself."""
    found: dict[tuple[str, str], Repair] = {
        (one.src, one.what): one for one in context.observations if isinstance(one, Repair)
    }
    legs: list[Leg] = []
    for node in context.inventory.nodes:
        for what in WHAT:
            legs += _repair_legs(context, node.name, what, found.get((node.name, what)))
    things = [thing for one in found.values() for thing in one.things]
    times = [thing.seconds for thing in things if thing.seconds is not None]
    promised = context.expect.heal_seconds
    words = f"after {min(times):.1f} to {max(times):.1f} s" if times else "at no time"
    declared = ", ".join(f"{what} {seconds:g} s" for what, seconds in sorted(promised.items())) or "nothing"
    return Verdict(
        tuple(legs),
        (
            control("P6", any(thing.gone for thing in things), f"{len(things)} routes and rules could be deleted"),
            census(len(found), len(context.inventory.nodes) * len(WHAT), "kinds on nodes"),
        ),
        summary=f"{len(times)} of {len(things)} came back {words}; promised: {declared}",
    )


def _repair_legs(context: Context, node: str, what: str, one: Repair | None) -> Iterator[Leg]:
    name = f"{node}/{what}"
    promised = context.expect.heal_seconds.get(what)
    if one is None:
        yield broken(name, f"nobody reported what became of {what} of {node}", "missing")
        return
    if one.detail:
        yield broken(name, f"{what} of {node} could not be deleted: {one.detail}", "unread")
        return
    if not one.things:
        if promised is None:
            yield recorded(name, "none", f"the network has no {what} there that could be deleted")
        else:
            yield failed(name, "missing", f"the network has no {what} on {node}, and promises to repair them")
        return
    for number, thing in enumerate(one.things):
        yield _thing_leg(f"{name}/{number}", node, one, thing, promised)


def _thing_leg(leg: str, node: str, one: Repair, thing: Thing, promised: float | None) -> Leg:
    what = WHAT[one.what]
    if thing.seconds is not None:
        text = f"{node}: {thing.text} came back after {thing.seconds:.1f} s"
        if promised is None:
            return recorded(leg, thing.seconds, f"{text}, which the network does not promise", "s")
        if thing.seconds > promised:
            return recorded(leg, thing.seconds, f"{text}, later than the {promised:g} s that are promised", "s")
        return passed(leg, f"at most {promised:g}", thing.seconds, "s", text)
    if not thing.gone:
        return broken(leg, f"{node}: the {what} could not be deleted: {thing.text}: {thing.seen}")
    text = f"{node}: {thing.text} did not come back in {one.waited:.1f} s; in its place: {thing.seen or 'nothing'}"
    if promised is None:
        return recorded(leg, None, f"{text}. The network does not promise it", "s")
    return failed(leg, "missing", text, f"at most {promised:g}", None, "s")


CHECKS: tuple[Check, ...] = (
    Check(
        id="node.heal", title="a deleted route or rule returns, where the network promises that", level="S", batch="B8",
        judge=node_heal, gates=("dis", "node", "agent"),
        causes=("the agent hangs", "the agent does not run on the node"),
        next=("kubectl get pods -A -o wide", "ip monitor all", "the agent's log"),
    ),
    Check(
        id="robust.restart", title="pods hardly notice that the network's agents restart", level="S", batch="B8",
        judge=robust_restart, gates=("dis", "agent"),
        causes=("the agent makes its state from scratch", "the agent does not start again"),
        next=("kubectl get pods -A -o wide", "kubectl describe daemonset", "the agent's log"),
    ),
    Check(
        id="ipam.cidr.stable", title="a node keeps its share when its agent restarts", level="S", batch="B8",
        judge=cidr_stable, gates=("dis", "agent", "ncidr"), once=True,
        inverse="another share after a restart would be noticed",
        causes=("the lease of the node's share was lost",), next=("kubectl get nodes -o yaml", "the agent's file"),
    ),
    Check(
        id="conn.idle", title="a connection outlives a pause, and a restart of the network's agents", level="S",
        batch="B8", judge=conn_idle, gates=("dis", "agent"),
        causes=("an entry of connection tracking ends too soon", "translation forgets its connections"),
        next=("sysctl net.netfilter", "conntrack -L", "ss -ti"),
    ),
)  # fmt: skip
"""Requirements on a network that is disturbed; `leftovers` has those on what it leaves behind."""
