"""How connections are set up: by their first SYN, or only by one that was sent again.

A kernel sends a SYN again after a second (RFC 6298, section 2). A network that loses every first SYN therefore lets all
connections come about, each a second late. What is judged is the sender's own count of SYNs, and never a time: a slow
machine sets up connections late, but with one SYN.

A machine that stands still for a second loses none, and yet makes kernels send again. Hence three conditions for a
failure. The probe tries a connection that took more than one SYN again, up to two times, seconds apart, and only the
last try counts. More than half of the connections over one path must have taken more. And both ends must have set up
connections to themselves, over loopback, with one SYN at the same time: the machine was not at fault then.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence

from conformance.asked import unreported
from conformance.context import Context
from conformance.inventory import Site
from conformance.legs import (
    answer_sentence,
    broken,
    control,
    evidence_of,
    failed,
    passed,
    recorded,
    target_of,
    unanswered,
    where,
)
from conformance.model import Check, Verdict
from conformance.pairs import setup_pairs
from harness.model.records import Exchange, Leg

NM = 'Kubernetes documentation, "The Kubernetes network model"'

ORDINALS = ("first", "second", "third", "fourth")

Groups = dict[tuple[str, str], list[Exchange]]


def first_syn(context: Context) -> Verdict:
    """Most connections over every path take one SYN."""
    pairs = setup_pairs(context.inventory)
    alone = tuple(dict.fromkeys(site for pair in pairs for site in pair))
    groups: Groups = defaultdict(list)
    for purpose in ("setup", "setup-self"):
        for one in context.exchanges.get(purpose, ()):
            groups[one.src, one.dst].append(one)
    missing = {leg.leg: leg for purpose in ("setup", "setup-self") for leg in unreported(context, purpose)}
    legs: list[Leg] = []
    for src, dst in (*pairs, *((site, site) for site in alone)):
        leg = f"{src.name}>{dst.name}/tcp"
        legs.append(missing.get(leg) or _leg(context, leg, (src, dst), groups))
    own = [one for site in alone for one in groups[site.name, site.name]]
    clean = sum(one.outcome == "ok" and one.syn_resent == 0 for one in own)
    return Verdict(
        tuple(legs),
        (control("P1", clean, f"{clean} of {len(own)} connections over loopback took one SYN"),),
        evidence_of((one for group in groups.values() for one in group), legs),
        summary=f"connections over {len(pairs)} paths are set up by their first SYN",
    )


def _late(seen: Sequence[Exchange]) -> list[Exchange]:
    """Connections that took more than one SYN at their last try, if they are more than half of all."""
    late = [one for one in seen if one.outcome == "ok" and one.syn_resent]
    return late if 2 * len(late) > len(seen) else []


def _leg(context: Context, leg: str, pair: tuple[Site, Site], groups: Groups) -> Leg:
    src, dst = pair
    seen = groups[src.name, dst.name]
    good = [one for one in seen if one.outcome == "ok"]
    odd = next((one for one in seen if one.outcome == "error"), None)
    if odd is not None or not good:
        first = odd or next(iter(seen), None)
        return unanswered(context, first, leg, "how its connections are set up")
    if any(one.syn_resent is None for one in good):
        return broken(leg, f"the kernel of {src.name} ({src.node}) does not say how many SYNs it sent", "missing")
    if stranger := next((one for one in good if one.token != dst.name), None):
        text = answer_sentence(context, stranger)
        return recorded(leg, stranger.token, f"{text}: how connections to {dst.name} are set up is not known")
    late = _late(seen)
    if not late:
        return passed(leg, 0, sum(bool(one.syn_resent) for one in good), "count")
    text = _sentence(src, late, len(seen))
    busy = [site.name for site in pair if _late(groups[site.name, site.name])]
    if busy:
        return recorded(leg, len(late), f"{text}; {busy[0]} needs it over loopback, too: not this path", "count")
    return failed(leg, "lost", f"{text}: the first, or its answer, is lost and sent again", 0, len(late), "count")


def _sentence(src: Site, late: Sequence[Exchange], tried: int) -> str:
    most = min(max(one.syn_resent or 0 for one in late), len(ORDINALS) - 1)
    times = [one.rtt_us / 1e6 for one in late if one.rtt_us is not None]
    after = f" (after {statistics.median(times):.2f} s)" if times else ""
    number = f"{ORDINALS[most]} SYN, {len(late)} of {tried}{after}"
    return f"{where(src)} connects to {target_of(late[0])} only with its {number}"


CHECKS: tuple[Check, ...] = (
    Check(
        "conn.setup", "a connection is set up by its first SYN", "S", "B1", first_syn,
        source=NM, after=("node.underlay",),
        causes=("a rule that drops the first packet of a connection", "a race of insertions in connection tracking"),
        next=("nstat -az TcpRetransSegs TcpExtTCPSynRetrans", "nft list ruleset",
              "tcpdump -ni any 'tcp[tcpflags] & tcp-syn != 0 and host {destination}'  # on each hop"),
    ),
)  # fmt: skip
