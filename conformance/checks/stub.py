"""What the resolver of a C library does beyond one question: two from one socket, and a walk of the search list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from conformance.asked import name_of, unreported
from conformance.checks.dns import DPS, NEXT, leg_of, zone_of
from conformance.context import Context
from conformance.legs import broken, control, failed, names, passed, recorded
from conformance.model import Check, Verdict
from harness.model.family import FAMILIES, record_type
from harness.model.records import Evidence, Leg, Lookup, Observation, Query

CHANCE: Final = 2
"""So many of one place's datagrams may be lost on a busy machine without a cause in the network."""

SOCKETS: Final = frozenset({"one-socket", "own-sockets"})
"""Purposes of the questions that are compared."""

APART: Final = "/apart"
"""Ends the name of a leg whose questions have a socket each."""

SHARES: Final[Mapping[tuple[bool, ...], str]] = {
    (True, False): "only the first is answered",
    (False, True): "only the second is answered",
    (False, False): "neither is answered",
}
"""What became of two questions of one socket, of which not both were answered."""


def _answered(query: Query) -> bool:
    """An answer came, whatever it says: an outcome instead is in small letters."""
    return query.rcode.isupper()


def _lost(one: Lookup) -> int:
    """Questions without an answer."""
    return sum(not _answered(query) for query in one.queries)


def same_socket(context: Context) -> Verdict:
    """A and AAAA that are sent from one socket, back to back, are both answered as they are from two sockets."""
    seen = context.lookups.get("one-socket", ())
    apart = {one.src: one for one in context.lookups.get("own-sockets", ())}
    wanted = _addresses(context)
    legs = [_pairs(one, apart.get(one.src), wanted) for one in seen]
    legs += unreported(context, "one-socket")
    legs += unreported(context, "own-sockets", lambda src, probe: f"{name_of(src, probe)}{APART}")
    lost = sum(map(_lost, seen))
    return Verdict(
        tuple(legs),
        (
            control("P7", any(wanted.values()), "the API names the ClusterIP that was asked for"),
            control("P2", any(_asked(one) for one in apart.values()), "questions from sockets of their own were asked"),
        ),
        _evidence(seen, legs),
        summary=f"A and AAAA of one socket are both answered, from {len(seen)} pods"
        + (f"; {lost} of {sum(len(one.queries) for one in seen)} datagrams were lost, as happens" if lost else ""),
    )


def undecided(seen: Iterable[Observation]) -> frozenset[str]:
    """Places that lost more questions than by chance, either way, but not all of them.

    A server that starts again, or a rule set that is replaced, is away for a moment: these are asked both ways again.

    Args:
        seen: What was observed; of these, lookups that ask from one socket or from many.
    """
    asked = (one for one in seen if isinstance(one, Lookup) and one.purpose in SOCKETS)
    return frozenset(one.src for one in asked if CHANCE < _lost(one) < len(one.queries))


def _addresses(context: Context) -> dict[str, list[str]]:
    """Addresses of the Service that was asked for, by type of record; none of a family that it does not have."""
    found = context.entire.inventory.service("spread")
    every = found.cluster_ips or (found.cluster_ip,) if found else ()
    return {record_type(family): [ip for ip in every if (":" in ip) == (family == "ipv6")] for family in FAMILIES}


def _asked(one: Lookup | None) -> bool:
    """The probe did what it is there for, whatever came of it."""
    return one is not None and one.outcome != "error" and bool(one.queries)


def _pairs(one: Lookup, apart: Lookup | None, wanted: Mapping[str, Sequence[str]]) -> Leg:
    """What became of the questions of one place, held against those that had a socket each at the same moment."""
    leg = leg_of(one)
    if not _asked(one):
        return broken(leg, f"the probe itself failed on {leg}: {one.detail or 'it asked nothing'}")
    if apart is None or not _asked(apart):
        text = f"{one.src} did not ask from sockets of their own: there is nothing to compare {leg} with"
        return broken(leg, text, "lab" if apart else "missing")
    for query in filter(_answered, one.queries):
        if query.rcode != "NOERROR" or sorted(query.answers) != sorted(wanted[query.qtype]):
            text = (
                f"{one.src} ({one.src_node}) asked for {query.name} A and AAAA from one socket, and got "
                f"{names(query.answers)} ({query.rcode}) for {query.qtype}, not {names(wanted[query.qtype])}"
            )
            return failed(leg, "wrong-value", text, list(wanted[query.qtype]), list(query.answers))
    return _compared(leg, one, apart)


def _compared(leg: str, one: Lookup, apart: Lookup) -> Leg:
    """Which questions of one socket were lost; what is lost from separate sockets too is not the socket's doing."""
    total, lost = len(one.queries), _lost(one)
    others, missed = len(apart.queries), _lost(apart)
    beside = f"from a socket each, {others - missed} of {others} are"
    observed = f"{total - lost} of {total}"
    if lost <= CHANCE:
        return passed(leg, "all answered", observed)
    if lost > missed + CHANCE:
        text = f"{one.src} ({one.src_node}): of A and AAAA sent from one socket {_shares(one)}; {beside}"
        return failed(leg, "lost", text, "all answered", observed)
    if (lost, missed) == (total, others):
        outcome = next(query.rcode for query in one.queries)
        text = f"{one.src} ({one.src_node}) asked {one.server} for {one.name} A and AAAA, {total} questions: {outcome}"
        return failed(leg, outcome, text, "all answered", observed)
    text = f"{one.src} ({one.src_node}): of A and AAAA sent from one socket {_shares(one)}; {beside}"
    return failed(
        leg, "lost", f"{text}: datagrams to {one.server} are lost, whatever their socket", "all answered", observed
    )


def _shares(one: Lookup) -> str:
    """How many sockets lost which of their two questions, the most frequent first."""
    pairs = [one.queries[at : at + 2] for at in range(0, len(one.queries), 2)]
    found = Counter(tuple(map(_answered, pair)) for pair in pairs)
    return ", ".join(
        f"{SHARES[shape]}, {count} of {len(pairs)}" for shape, count in found.most_common() if shape in SHARES
    )


def _evidence(seen: Sequence[Lookup], legs: Sequence[Leg]) -> tuple[Evidence, ...]:
    """The queries of looks whose legs failed: first what was answered."""
    bad = {leg.leg for leg in legs if leg.status == "fail"}
    return tuple(_story(one) for one in seen if leg_of(one) in bad)[:4]


def _story(one: Lookup) -> Evidence:
    told = sorted(one.queries, key=lambda query: not query.answers)[:4]
    queries = [f"{query.name} {query.qtype}: {', '.join((query.rcode, *query.answers))}" for query in told]
    return Evidence(kind="socket", detail={"leg": leg_of(one), "server": one.server, "queries": queries})


def relative(context: Context) -> Verdict:
    """A relative name that nobody has does not exist in any domain of a pod's search list."""
    seen = context.lookups.get("negative-relative", ())
    absolute = {one.src: one for one in context.lookups.get("negative-absolute", ())}
    legs = [_unknown(context, one, absolute.get(one.src)) for one in seen]
    legs += [*unreported(context, "negative-relative"), *unreported(context, "negative-absolute")]
    return Verdict(
        tuple(legs),
        (control("P2", any(map(_asked, absolute.values())), "the absolute name was also queried"),),
        _evidence(seen, legs),
        summary=f"unknown relative names do not exist, from {len(seen)} pods",
    )


def _unknown(context: Context, one: Lookup, absolute: Lookup | None) -> Leg:
    """No query of the walk has an answer, and the cluster's own zone says that the name does not exist."""
    leg = leg_of(one)
    if not _asked(one):
        return broken(leg, f"the probe itself failed on {leg}: {one.detail or 'it asked nothing'}")
    for query in one.queries:
        if query.answers:
            text = (
                f"in {one.src} ({one.src_node}) the unknown name {one.name!r} resolves to {names(query.answers)} "
                f"{_by_domain(context, one, query)}{_contrast(absolute)}"
            )
            return failed(leg, "unexpected", text, "no answer", f"{query.name} {query.qtype}: {names(query.answers)}")
    for query in _last(one):
        if query.rcode != "NXDOMAIN" and _inside(context, query):
            said = f"{query.rcode}, 0 answers"
            text = f"{one.src} ({one.src_node}) asked for {query.name}, which does not exist, and got {said}"
            return failed(leg, "wrong-value" if _answered(query) else query.rcode, text, "NXDOMAIN, 0 answers", said)
    if one.outcome != "ok":
        text = f"{one.src} ({one.src_node}) asked for {one.name!r}, and outside the cluster's zone got: {one.outcome}"
        return recorded(leg, one.outcome, text)
    return passed(leg, "no answer", "no answer")


def _last(one: Lookup) -> Iterator[Query]:
    """What was said last on each name and type: a C library asks again when no answer comes."""
    yield from {(query.name, query.qtype): query for query in one.queries}.values()


def _inside(context: Context, query: Query) -> bool:
    return query.name.rstrip(".").endswith(f".{zone_of(context)}")


def _by_domain(context: Context, one: Lookup, query: Query) -> str:
    """Whose domain made a name of the search list resolve."""
    domain = query.name.removeprefix(f"{one.name}.").rstrip(".")
    if not domain:
        return "as an absolute name"
    own = "cluster's own domain" if _inside(context, query) else "node's search domain"
    return f"by the {own} {domain}"


def _contrast(absolute: Lookup | None) -> str:
    """Whether the name exists without a search list; empty where that is not known."""
    if absolute is None or absolute.outcome != "ok":
        return ""
    found = [answer for query in absolute.queries for answer in query.answers]
    if found:
        return f"; the absolute name {absolute.name!r} resolves to {names(found)}"
    return f"; the absolute name {absolute.name!r} does not exist"


CHECKS: tuple[Check, ...] = (
    Check(
        "dns.same-socket", "two questions from one socket are both answered", "M", "B4", same_socket, once=True,
        gates=("dns",), after=("node.underlay",),
        causes=("a rule that limits datagrams of one source port", "race of two datagrams in connection tracking"),
        next=("conntrack -S", "nft list ruleset"),
    ),
    Check(
        "dns.negative.relative", "an unknown relative name does not exist", "S", "B4", relative, source=DPS,
        once=True, gates=("dns",), after=("node.underlay",),
        causes=("a search domain of the node that answers for every name", "wildcard"),
        next=("cat /etc/resolv.conf", *NEXT),
    ),
)  # fmt: skip
