"""Legs and the sentences on them: one way to say where a packet came from, where it went, and what happened to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from conformance.context import Context
from conformance.inventory import Site
from harness.model.family import TITLE, transport_of
from harness.model.records import Control, Evidence, Exchange, Leg

WORDS: Final = {
    "timeout": "got no answer from",
    "refused": "was refused by",
    "unreachable": "found no route to",
    "msgsize": "got the error that the packet is too big on the way to",
    "reset": "was reset by",
    "short": "got only a part of the answer from",
    "corrupt": "got a changed payload from",
    "lost": "lost packets to",
}
"""How an outcome reads between source and target."""


FLAKY: Final = "flaky"
"""Reason of a leg that passed only after a retry."""


def passed(leg: str, expected: Any = None, observed: Any = None, unit: str = "", statement: str = "") -> Leg:
    """A leg that is as it should be."""
    return Leg(leg=leg, status="pass", expected=expected, observed=observed, unit=unit, statement=statement)


def failed(leg: str, reason: str, statement: str, expected: Any = None, observed: Any = None, unit: str = "") -> Leg:
    """A leg that contradicts the requirement."""
    return Leg(
        leg=leg, status="fail", reason=reason, statement=statement, expected=expected, observed=observed, unit=unit
    )


def broken(leg: str, statement: str, reason: str = "lab") -> Leg:
    """A leg on which nothing can be said."""
    return Leg(leg=leg, status="error", reason=reason, statement=statement)


def recorded(leg: str, observed: Any, statement: str, unit: str = "") -> Leg:
    """A leg that is only written down."""
    return Leg(leg=leg, status="record", observed=observed, unit=unit, statement=statement)


def check_value(
    leg: str, expected: Any, observed: Any, statement: str, *, unit: str = "", reason: str = "wrong-value"
) -> Leg:
    """Passed when both are equal, else failed with the sentence."""
    if expected == observed:
        return passed(leg, expected, observed, unit)
    return failed(leg, reason, statement, expected, observed, unit)


def control(kind: str, ok: object, detail: str) -> Control:
    """A control; `detail` says what it looked at, so that it reads well broken and whole."""
    return Control(kind=kind, ok=bool(ok), detail=detail)


def census(found: int, expected: int, what: str) -> Control:
    """P4: as many objects as the inventory has, and not none."""
    return control("P4", found > 0 and found >= expected, f"{found} of {expected} {what} examined")


def where(site: Site | None, fallback: str = "") -> str:
    """`10.244.1.2 (a, n1)`; outside the cluster `8.8.8.8 (router)`."""
    if site is None:
        return fallback
    place = f"{site.name}, {site.node}" if site.node else site.name
    return f"{site.ip or 'no address'} ({place})"


def source_of(context: Context, one: Exchange) -> str:
    """The sender of an exchange, with name and node."""
    return where(context.inventory.by_name.get(one.src), f"{one.src_ip or one.src} ({one.src})")


def target_of(one: Exchange) -> str:
    """What was dialled, with name and node: `10.244.2.2:8080/tcp (c, n2)`."""
    place = f"{one.dst}, {one.dst_node}" if one.dst_node else one.dst
    return f"{one.dial}/{one.proto} ({place})"


def leg_name(one: Exchange) -> str:
    """`a>c/tcp`, stable between runs."""
    return f"{one.src}>{one.dst}/{one.proto}"


def outcome_sentence(context: Context, one: Exchange) -> str:
    """What happened to an exchange that did not work."""
    words = WORDS.get(one.outcome, f"ended with {one.outcome} at")
    errno = f" (errno {one.errno})" if one.errno else ""
    tries = f" in {one.attempts} attempts" if one.attempts > 1 else ""
    return f"{source_of(context, one)} {words} {target_of(one)}{errno}{tries}"


def reached(context: Context, one: Exchange | None, leg: str) -> Leg:
    """Passed when the exchange got an answer, whoever gave it.

    Args:
        context: For names in the sentence.
        one: The exchange; None when the probe did not report it.
        leg: Name of the leg, for that case.
    """
    if one is None:
        return undialled(context, leg)
    if one.outcome == "ok":
        return passed(leg, "ok", "ok").model_copy(update={"reason": FLAKY if one.attempts > 1 else ""})
    if one.outcome == "error":
        errno = f" (errno {one.errno})" if one.errno else ""
        return broken(leg, f"the probe itself failed on {leg}{errno}: {one.detail or 'it does not say why'}")
    return failed(leg, one.outcome, outcome_sentence(context, one), "ok", one.outcome)


def answer_sentence(context: Context, one: Exchange) -> str:
    """Who answered instead of who was dialled."""
    return f"{source_of(context, one)} dialled {target_of(one)}, but {one.token or 'nobody with a name'} answered"


def answered_by(context: Context, one: Exchange | None, leg: Leg, *wanted: str) -> Leg:
    """A leg that passes only if who answered is one of those that may.

    Args:
        context: For names in the sentence.
        one: The exchange; None when the probe did not report it.
        leg: What is said of it so far.
        wanted: Names of responders. Echo requests are answered by a kernel, which has no name.
    """
    if leg.status != "pass" or one is None or transport_of(one.proto) == "icmp" or one.token in wanted:
        return leg
    text = f"{answer_sentence(context, one)}, and not {' or '.join(wanted)}"
    return failed(leg.leg, "wrong-peer", text, wanted[0] if len(wanted) == 1 else list(wanted), one.token)


def undialled(context: Context, leg: str) -> Leg:
    """A leg that nobody reported: its target has no address of the family, or the probe failed."""
    target = context.inventory.by_name.get(leg.partition(">")[2].partition("/")[0])
    if target is not None and not target.ip:
        text = f"{target.name} on {target.node} has no {TITLE[context.family]} address"
        return failed(leg, "missing", text, f"an {TITLE[context.family]} address", "none", "ip")
    return broken(leg, f"the probe did not report {leg}", "missing")


def unanswered(context: Context, one: Exchange | None, leg: str, lost: str) -> Leg:
    """What a check that needs an answer says of an exchange without one: that it got none is for the checks of reach.

    Args:
        context: For names in the sentence.
        one: The exchange; None when the probe did not report it.
        leg: Name of the leg.
        lost: What an answer would have told.
    """
    found = reached(context, one, leg)
    if found.status != "fail":
        return found
    return recorded(leg, found.observed, f"{found.statement}: {lost} is not known")


def evidence_of(exchanges: Iterable[Exchange | None], legs: Iterable[Leg], most: int = 4) -> tuple[Evidence, ...]:
    """Both ends' view of the first exchanges whose legs failed."""
    bad = {leg.leg for leg in legs if leg.status == "fail"}
    found = [
        Evidence(
            kind="socket",
            detail={
                "leg": leg_name(one),
                "client": one.source,
                "dialled": one.dial,
                "server_saw": one.peer,
                "server_local": one.local,
                "token": one.token,
                "outcome": one.outcome,
                "errno": one.errno,
                "ttl": one.ttl,
            },
        )
        for one in exchanges
        if one is not None and any(name == leg_name(one) or name.startswith(leg_name(one)) for name in bad)
    ]
    return tuple(found[:most])


def any_ok(exchanges: Iterable[Exchange], accept: Callable[[Exchange], bool] = lambda _: True) -> bool:
    """True when at least one accepted exchange worked: the twin of a positive control."""
    return any(one.outcome == "ok" and accept(one) for one in exchanges)


def names(items: Iterable[str], most: int = 6) -> str:
    """A readable list, cut when it is long."""
    listed = list(items)
    text = ", ".join(listed[:most]) or "none"
    return f"{text} and {len(listed) - most} more" if len(listed) > most else text
