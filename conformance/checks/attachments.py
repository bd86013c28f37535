"""Many attachments: what plugins do when ADDs come at once, when a range is used up, and when a runtime cleans up.

All are of networks that no pod has: their configuration is the node's, with ranges and a lease store of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from conformance.checks.cni import CNI, NEXT, difference, evidence, unchanged
from conformance.context import Context
from conformance.legs import broken, census, check_value, control, failed, names, passed, recorded
from conformance.model import Check, Verdict
from conformance.verbs import PARALLEL, ROOM, Verbs, able, collects, json_error, owner
from harness.model.records import Leg

NOT_READY = (50, 51)
"""Error codes of STATUS: no ADD can be served; none without limits to the network."""

Json = Mapping[str, Any]


def _code(call: Json) -> int | None:
    """Code of an error that is as the specification wants it; None for success, and for anything else."""
    error = json_error(call)
    return None if error is None else int(error["code"])


def _refused(verbs: Verbs, verb: str) -> Leg:
    """A verb that the configuration's version does not have is an error, not a success that did nothing."""
    call = verbs.calls(f"{verb.lower()}-refused")[0]
    version = verbs.conf.get("cniVersion")
    leg = f"{verbs.node}/refused"
    # Which code, no version says: a plugin that is older than the verb does not know it. But who is not ready does.
    if _code(call) not in {None, *NOT_READY}:
        return passed(leg, "an error", call["output"], statement=f"version {version} has no {verb}: not applicable")
    text = f"{verb} on {verbs.node} exited with {call['status']}: version {version} does not have it, an error is due"
    return failed(leg, "unexpected", text, "an error", call["output"])


def _unmade(verbs: Verbs) -> Leg:
    """A leg for a node without networks of this kind."""
    text = f"the addresses of {verbs.node} are not of host-local, so that no range of its own can be used up"
    return recorded(f"{verbs.node}/scratch", None, text)


def _planned(context: Context, verb: str) -> tuple[list[Verbs], list[Leg]]:
    """The nodes that were asked for a verb of version 1.1.0, and legs for what is missing."""
    asked, legs = able(context, "add", many=True)
    found = []
    for verbs in asked:
        step = verb.lower() if collects(verbs.conf) else f"{verb.lower()}-refused"
        wanted = [] if verb == "GC" and collects(verbs.conf) else [step]
        wanted += ["status-ready", "status-full"] if verb == "STATUS" and "gc" in (verbs.scratch or {}) else []
        gone = [step for step in wanted if verbs.conf and not verbs.calls(step)]
        legs += [broken(f"{verbs.node}/{step}", f"{verbs.node}: {step} was not reported", "missing") for step in gone]
        found += [verbs] if verbs.conf and not gone else []
    return found, legs


def gc(context: Context) -> Verdict:
    """GC drops leases of no attachment and keeps all others; before its version it is refused."""
    asked, legs = _planned(context, "GC")
    for verbs in asked:
        legs += [] if collects(verbs.conf) else [_refused(verbs, "GC")]
        seen: Json | None = (verbs.scratch or {}).get("gc")
        if seen is None:
            text = f"GC of {verbs.node} could only be tried on the leases of its pods"
            legs += [recorded(f"{verbs.node}/leases", None, text)] if collects(verbs.conf) else []
            continue
        lost = sorted({*seen["valid"]} - ({*seen["after"]} & {*seen["later"]}))
        text = (
            f"GC on {verbs.node} dropped the lease of {names(lost)}, whose attachment is valid: it can be given again"
        )
        legs.append(check_value(f"{verbs.node}/valid", [], lost, text, reason="missing"))
        kept = sorted({*seen["stale"]} & {*seen["after"]})
        text = f"GC on {verbs.node} left the lease of {names(kept)}, whose attachment is not valid"
        # No runtime calls GC below its version: what the plugin would do is then only written down.
        judged = collects(verbs.conf) or not kept
        leg = f"{verbs.node}/stale"
        legs.append(check_value(leg, [], kept, text, reason="unexpected") if judged else recorded(leg, kept, text))
    return Verdict(
        tuple(legs),
        (control("P6", any(verbs.worked("add") for verbs in asked), "ADD worked"),),
        evidence(context, "gc", prefix=True),
        summary="GC drops no lease of a valid attachment, and is refused in versions that do not have it",
    )


def status(context: Context) -> Verdict:
    """STATUS says 0 when ADD would work; before its version it is refused."""
    asked, legs = _planned(context, "STATUS")
    for verbs in asked:
        legs += [] if collects(verbs.conf) else [_refused(verbs, "STATUS")]
        for step in ("status", "status-ready"):
            for call in verbs.calls(step):
                text = f"STATUS on {verbs.node} says that ADD would fail, and it works: {verbs.said(step)}"
                legs.append(check_value(f"{verbs.node}/{step}", 0, call["status"], text))
        for call in verbs.calls("status-full"):
            leg = f"{verbs.node}/status-full"
            text = f"STATUS on {verbs.node}, when its range was used up: {verbs.said('status-full')}"
            if call["status"] == 0:
                legs.append(recorded(leg, 0, f"STATUS on {verbs.node} does not know that its range is used up"))
            else:
                good = _code(call) in NOT_READY
                legs.append(passed(leg, NOT_READY, _code(call)) if good
                            else failed(leg, "wrong-value", text, NOT_READY, _code(call)))  # fmt: skip
    return Verdict(
        tuple(legs),
        (control("P6", any(verbs.worked("add") for verbs in asked), "ADD worked"),),
        evidence(context, "status", prefix=True),
        summary="STATUS reports no readiness that is not there, and is refused in versions that do not have it",
    )


def parallel(context: Context) -> Verdict:
    """ADDs at the same time get addresses that differ."""
    asked, legs = able(context, "add", many=True)
    made = planned = 0
    for verbs in asked:
        scratch = verbs.scratch
        if scratch is None:
            legs.append(_unmade(verbs))
            continue
        steps = [f"parallel-{number:02}" for number in range(PARALLEL)]
        gone = [step for step in steps if not verbs.calls(step)]
        planned, made = planned + PARALLEL, made + PARALLEL - len(gone)
        legs += [broken(f"{verbs.node}/{step}", f"{verbs.node}: {step} was not reported", "missing") for step in gone]
        failures = [step for step in steps if step not in gone and not verbs.gave(step)]
        for step in failures:
            text = f"one of {PARALLEL} ADDs at the same time failed on {verbs.node}: {verbs.said(step)}"
            legs.append(failed(f"{verbs.node}/{step}", "wrong-value", text, "an address", verbs.said(step)))
        held: Json = scratch.get("parallel") or {}
        count = Counter(ip for step in steps for ip in {*verbs.gave(step), *held.get(step, ())})
        twice = sorted(ip for ip, times in count.items() if times > 1)
        text = f"{PARALLEL} ADDs at the same time on {verbs.node}: {names(twice)} was given more than once"
        legs.append(check_value(f"{verbs.node}/distinct", [], twice, text, unit="ip"))
    return Verdict(
        tuple(legs),
        (census(made, planned, "ADDs") if planned else control("P4", asked, "plugins were called"),),
        evidence(context, "parallel-", prefix=True),
        summary=f"{PARALLEL} ADDs at the same time have addresses that differ, on each node",
    )


def exhaust(context: Context) -> Verdict:
    """When no address is left ADD is an error that changes nothing, and works again after a DEL."""
    asked, legs = able(context, "add", many=True)
    first = []
    for verbs in asked:
        scratch = verbs.scratch
        if scratch is None:
            legs.append(_unmade(verbs))
            continue
        first.append(bool(verbs.gave("fill-0")))
        legs += _exhausted(verbs, scratch)
    return Verdict(
        tuple(legs),
        (control("P2", any(first) or not first, "ADD works as long as there is an address"),),
        evidence(context, "fill-", prefix=True),
        summary="ADD without an address left is an error that changes nothing, and works again after a DEL",
    )


def _exhausted(verbs: Verbs, scratch: Json) -> list[Leg]:
    node = verbs.node
    filled = [step for step in (f"fill-{number}" for number in range(ROOM)) if verbs.calls(step)]
    gone = [step for step in ("fill-0", "fill-undone", "fill-del", "fill-again") if not verbs.calls(step)]
    if gone or not filled:
        return [broken(f"{node}/{step}", f"{node}: {step} was not reported", "missing") for step in gone]
    last = filled[-1]
    call = verbs.calls(last)[-1]
    text = (
        f"{node} has a range of {ROOM} addresses and gave {len(filled)}"
        if verbs.gave(last)
        else f"ADD on {node} without an address left exited with {call['status']} and {str(call['output'])[:80]!r}"
    )
    good = _code(call) is not None
    legs = [
        passed(f"{node}/error", "JSON error", call["output"])
        if good
        else failed(f"{node}/error", "wrong-value", text, "JSON error", call["output"])
    ]
    looks: Json = scratch.get("looks") or {}
    text = f"ADD on {node} without an address left, and DEL after it, left objects behind"
    legs.append(unchanged(f"{node}/diff", looks.get("before"), looks.get("after"), text))
    if looks.get("before") != looks.get("failed") and looks.get("before") and looks.get("failed"):
        more = difference(looks["before"], looks["failed"])
        legs.append(recorded(f"{node}/failed", more, f"until DEL, an ADD that failed on {node} leaves {more}"))
    oldest, held = sorted(verbs.gave("fill-0")), sorted(scratch.get("oldest") or ())
    text = f"after an ADD that failed on {node}, the attachment that was given {names(oldest)} has {names(held)}"
    legs.append(check_value(f"{node}/others", oldest, held, text, unit="ip"))
    again = verbs.gave("fill-again")
    text = f"ADD on {node} does not work again after a DEL: {verbs.said('fill-again')}"
    legs.append(passed(f"{node}/again", "an address", again) if again
                else failed(f"{node}/again", "missing", text, "an address", "none"))  # fmt: skip
    return legs


def reuse(context: Context) -> Verdict:
    """An address that was given up and is given again belongs to its new attachment, for the node and for others."""
    asked, legs = able(context, "add", many=True)
    before = []
    for verbs in asked:
        if verbs.scratch is None:
            legs.append(_unmade(verbs))
            continue
        seen: Json | None = verbs.scratch.get("reuse")
        given, again = set(verbs.gave("fill-0")), set(verbs.gave("fill-again"))
        if seen is None or not verbs.calls("fill-again"):
            legs.append(broken(f"{verbs.node}/reuse", f"{verbs.node}: no address was given again", "missing"))
            continue
        answers = [row for row in seen["asked"] if row["moment"] == "before" and row["outcome"] == "ok"]
        before += [owner(row["ttl"]) == "old" for row in answers]
        if not again:
            text = f"ADD on {verbs.node} gave no address again, so that nobody can have it"
            legs.append(recorded(f"{verbs.node}/reuse", None, text))
        for ip in sorted(again - given):
            text = f"{verbs.node} gave {ip} and not an address again that was free"
            legs.append(recorded(f"{verbs.node}/{ip}", ip, text, "ip"))
        for ip in sorted(again & given):
            legs += _reused(verbs.node, ip, seen)
    return Verdict(
        tuple(legs),
        (control("P6", all(before) if before else not legs, "the old attachment answered before it was deleted"),),
        evidence(context, "fill-", prefix=True),
        summary="an address that is given again belongs to its new attachment alone",
    )


def _reused(node: str, ip: str, seen: Json) -> list[Leg]:
    """What is seen of one address: who has it, and who answers."""
    legs: list[Leg] = []
    holders = sorted(netns for netns, held in seen["held"].items() if ip in held)
    text = f"{node} gave {ip} again, and {names(holders)} have it: the old attachment still does"
    legs.append(check_value(f"{node}/{ip}/held", [seen["new"]], holders, text, reason="unexpected"))
    rows = {(one["moment"], one["from"]): one for one in seen["asked"] if one["ip"] == ip}
    for place in ("node", "neighbour"):
        leg = f"{node}/{place}>{ip}"
        row, earlier = rows.get(("after", place)), rows.get(("before", place))
        who = node if place == "node" else f"another attachment on {node}"
        if row is None or earlier is None or "error" in {row["outcome"], earlier["outcome"]}:
            legs.append(broken(leg, f"the probe did not report {leg}", "missing"))
        elif earlier["outcome"] != "ok" and row["outcome"] != "ok":
            # Rules of a node need not let through what belongs to no cluster.
            text = f"{who} got no answer from {ip} before it was given again either, so that nothing can be compared"
            legs.append(recorded(leg, row["outcome"], text))
        elif row["outcome"] != "ok" and (place == "neighbour" or ":" in ip):
            # Nobody has to announce an address (RFC 4861 §7.2.6, RFC 826), and who knew its old owner finds out by
            # itself, after seconds. The node is another matter: its plugin has just made it a way to the new one.
            text = f"{who} got no answer yet from {ip}, which was given again: it may still know the old owner"
            legs.append(recorded(leg, row["outcome"], text))
        elif row["outcome"] != "ok":
            text = f"{who} got no answer from {ip}, which was given again: something stale leads to its old owner"
            legs.append(failed(leg, row["outcome"], text, "ok", row["outcome"]))
        else:
            found = owner(row["ttl"]) or "foreign"
            text = f"{who} dialled {ip}, which was given again, and its {found} owner answered (TTL {row['ttl']})"
            legs.append(check_value(leg, "new", found, text, reason="wrong-peer"))
    return legs


CHECKS: tuple[Check, ...] = (
    Check(
        "ipam.reuse", "an address that is used again reaches its new owner alone", "M", "B7", reuse,
        source=f"{CNI} §2 DEL", once=True, gates=("lease", "verbs"), after=("cni.add.result",),
        causes=("a stale neighbour entry", "DEL leaves the interface"), next=("ip neigh", "conntrack -L", *NEXT),
    ),
    Check(
        "cni.gc", "GC drops no lease of a valid attachment", "S", "B7", gc, source=f"{CNI} §2 GC",
        once=True, gates=("verbs",), after=("cni.add.result",),
        causes=("plugin answers success to a verb that it does not have",), next=NEXT,
    ),
    Check(
        "cni.status", "STATUS says whether ADD would work", "S", "B7", status, source=f"{CNI} §2 STATUS",
        once=True, gates=("verbs",), after=("cni.add.result",),
        causes=("plugin answers success to a verb that it does not have", "STATUS is a stub"), next=NEXT,
    ),
    Check(
        "ipam.parallel", "ADDs at the same time get addresses that differ", "M", "B7", parallel,
        source=f"{CNI} §3", once=True, gates=("lease", "verbs"), after=("cni.add.result",),
        causes=("the lease store is not locked",), next=NEXT,
    ),
    Check(
        "ipam.exhaust", "ADD without an address left is an error and changes nothing", "M", "B7", exhaust,
        source=f"{CNI} §2 ADD, §5", once=True, gates=("lease", "verbs"), after=("cni.add.result",),
        causes=("plugin does not undo what it began", "DEL releases nothing"), next=NEXT,
    ),
)  # fmt: skip
