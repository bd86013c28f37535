"""Inside one pod: what its containers share, and its ways to itself."""

from __future__ import annotations

from conformance.context import Context
from conformance.dumps import by_name, is_up, unread
from conformance.inventory import Site
from conformance.legs import answered_by, any_ok, broken, check_value, control, evidence_of, failed, reached, where
from conformance.model import Verdict
from conformance.plan import loopback
from harness.model.records import Exchange, Leg

EADDRINUSE = 98


def containers_share(context: Context) -> Verdict:
    """Containers of a pod share address, ports and localhost."""
    legs: list[Leg] = []
    inverse: list[Exchange] = []
    for site in context.inventory.pods:
        if len(site.containers) < 2:
            continue
        sibling = context.exchange("sibling", site.name, f"{site.name}-sibling", "tcp")
        legs.append(reached(context, sibling, f"{site.name}/localhost"))
        if sibling is not None and sibling.outcome == "ok" and sibling.token != f"{site.name}-sibling":
            text = f"localhost of {site.name} was answered by {sibling.token}, not by the sibling container"
            legs[-1] = failed(f"{site.name}/localhost", "wrong-peer", text, f"{site.name}-sibling", sibling.token)
        taken = _of(context, "bind-taken", site.name)
        if taken is None:
            text = f"the probe did not try the sibling's port in {site.name}"
            legs.append(broken(f"{site.name}/port", text, "missing"))
        else:
            text = f"a container of {site.name} could listen on its sibling's port: they do not share their ports"
            wanted = {"outcome": "error", "errno": EADDRINUSE}
            observed = {"outcome": taken.outcome, "errno": taken.errno}
            legs.append(check_value(f"{site.name}/port", wanted, observed, text))
        closed = _of(context, "closed", site.name)
        inverse += [closed] if closed is not None else []
    free = context.exchanges.get("bind-free", ())
    return Verdict(
        tuple(legs),
        (
            control("P1", any_ok(free), "in another pod the same port is free"),
            control(
                "inv",
                any(one.outcome == "refused" for one in context.exchanges.get("closed", ())),
                "an unused port on localhost is refused",
            ),
        ),
        summary=f"{len(legs) // 2} pods: the containers share localhost and ports",
    )


def _of(context: Context, purpose: str, name: str) -> Exchange | None:
    return next((one for one in context.exchanges.get(purpose, ()) if one.src == name), None)


def _inside(context: Context, purpose: str, twin: str, text: str, *, link: bool) -> Verdict:
    legs: list[Leg] = []
    seen = []
    for site in context.inventory.pods:
        target = "localhost" if purpose == "localhost" else site.name
        for proto in ("tcp", "udp"):
            one = context.exchange(purpose, site.name, target, proto)
            seen.append(one)
            legs.append(answered_by(context, one, reached(context, one, f"{site.name}>{target}/{proto}"), site.name))
        # Without a way to its kernel, a pod is asked over the loopback address alone.
        legs += [_loopback(context, site)] if link and context.gates.get("node") else []
    return Verdict(
        tuple(legs),
        (control("P1", any_ok(context.exchanges.get(twin, ())), "other paths from the same pods work"),),
        evidence_of(seen, legs),
        summary=f"{len(context.inventory.pods)} pods: {text}",
    )


def _loopback(context: Context, site: Site) -> Leg:
    leg, read = f"{site.name}/lo", context.attempt("pod", site.name, "addr")
    lo = by_name(read).get("lo")
    if lo is None:
        return unread(leg, where(site), "addr", read)
    state = "up" if is_up(lo) else "down"
    return check_value(leg, "up", state, f"lo of pod {site.name} on {site.node} is down")


def localhost(context: Context) -> Verdict:
    """127.0.0.1, or ::1, answers inside every pod, and lo is up."""
    text = f"{loopback(context.family)} answers over TCP and UDP, lo is up"
    return _inside(context, "localhost", "mesh", text, link=True)


def own_address(context: Context) -> Verdict:
    """A pod reaches itself at its own address."""
    return _inside(context, "self", "mesh", "their own address answers over TCP and UDP", link=False)
