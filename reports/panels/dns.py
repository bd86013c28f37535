"""DNS as pods see it: what was asked, every query that this caused, and what came back."""

from __future__ import annotations

from typing import Final

from harness.model.family import FAMILIES, TITLE, other
from harness.model.records import Lookup, Query
from reports.families import families_of, named
from reports.model import Dns, LookupGroup, LookupRow, Mark, QueryStep, Tone
from reports.text import duration, listing, natural, plural, unique

_PURPOSES: Final = {
    "service": "Services by their full name",
    "search": "Short names, by the search path",
    "negative": "Names that do not exist",
    "headless": "Headless Services: one address per endpoint",
    "headless-empty": "Headless Services without endpoints",
    "hostname": "Pods by name",
    "externalname": "ExternalName",
    "schema": "Version of the record schema",
    "srv": "Ports (SRV)",
    "ptr": "Names of addresses (PTR)",
    "tcp": "The same names over TCP",
    "large-udp": "A large answer over UDP",
    "large-tcp": "A large answer over TCP",
    "large-edns": "A large answer with EDNS",
    "forward": "Names outside the cluster",
    "every-pod": "One name from every pod",
    "latency": "Repeated lookups, for the latency",
}
"""What the suite's purposes mean to a reader; others are shown as they are."""

_MAIN: Final = ("service", "search", "forward", "negative")
_ROWS_PER_GROUP: Final = 8
_STEPS: Final = 12
_ANSWERS: Final = 3
_SOURCES: Final = 4

_OTHER: Final = {TITLE[family]: TITLE[other(family)] for family in FAMILIES}

Question = tuple[str, str, str]


def dns(lookups: list[Lookup]) -> Dns | None:
    """The DNS panel; None when nobody asked.

    Args:
        lookups: All of the run.
    """
    if not lookups:
        return None
    both = families_of(lookup.family for lookup in lookups)
    groups: dict[tuple[str, str], dict[Question, list[Lookup]]] = {}
    for lookup in lookups:
        question = (lookup.name, lookup.qtype, lookup.transport)
        key = (lookup.purpose or "other", named(lookup.family, both))
        groups.setdefault(key, {}).setdefault(question, []).append(lookup)
    order = unique(purpose for purpose, _ in groups)
    made = [
        (purpose, _group(purpose, family if (purpose, _OTHER.get(family)) in groups else "", questions))
        for (purpose, family), questions in sorted(groups.items(), key=lambda one: order.index(one[0][0]))
    ]
    return Dns(
        main=tuple(group for purpose, group in made if purpose in _MAIN),
        more=tuple(group for purpose, group in made if purpose not in _MAIN),
        sentence=_sentence(lookups),
        left_out=sum(max(0, len(questions) - _ROWS_PER_GROUP) for questions in groups.values()),
    )


def _sentence(lookups: list[Lookup]) -> str:
    answered = sum(lookup.outcome == "ok" for lookup in lookups)
    queries = sum(len(lookup.queries) for lookup in lookups)
    servers = unique(lookup.server for lookup in lookups if lookup.server)
    text = f"{answered:,} of {plural(len(lookups), 'lookup')} got an answer"
    text += f" from {listing(servers)}" if servers else ""
    text += f"; they took {plural(queries, 'query', 'queries')}" if queries else ""
    return f"{text}. For a name that does not exist, the server must answer NXDOMAIN and not stay silent."


def _group(purpose: str, family: str, questions: dict[Question, list[Lookup]]) -> LookupGroup:
    """Questions that got no usable answer come first."""
    rows = sorted((_row(found) for found in questions.values()), key=lambda row: row.mark.tone != "bad")
    title = _PURPOSES.get(purpose, purpose.replace("-", " "))
    return LookupGroup(f"{title}, {family}" if family else title, tuple(rows[:_ROWS_PER_GROUP]))


def _mark(found: list[Lookup]) -> Mark:
    if any(lookup.outcome != "ok" or lookup.rcode in ("SERVFAIL", "REFUSED", "FORMERR") for lookup in found):
        return Mark("bad", "✗", "no usable answer")
    if all(lookup.answers for lookup in found):
        return Mark("good", "✓", "answered")
    return Mark("note", "∅", "no such record")


def _row(found: list[Lookup]) -> LookupRow:
    first = found[0]
    sources = unique(lookup.src for lookup in found)
    longest = max(found, key=lambda lookup: len(lookup.queries))
    times = sorted(lookup.ms for lookup in found)
    return LookupRow(
        name=first.name,
        qtype=first.qtype,
        sources=listing(sources) if len(sources) <= _SOURCES else plural(len(sources), "pod"),
        transport="getaddrinfo" if first.transport == "libc" else first.transport,
        mark=_mark(found),
        result=listing(unique(map(_result, found))[:_ANSWERS], "or"),
        steps=tuple(map(_step, longest.queries[:_STEPS])) if len(longest.queries) > 1 else (),
        ms=duration(times[len(times) // 2] / 1000),
        times=len(found),
    )


def _result(lookup: Lookup) -> str:
    """The answers in an order that does not change from one query to the next."""
    if lookup.outcome != "ok":
        return lookup.outcome
    answers = sorted(lookup.answers, key=natural)
    shown = [*answers[:_ANSWERS], *([f"{len(answers) - _ANSWERS} more"] if len(answers) > _ANSWERS else [])]
    return (listing(shown) or lookup.rcode or "no answer") + (" (truncated)" if lookup.truncated else "")


def _step(query: Query) -> QueryStep:
    tone: Tone = "good" if query.answers else "bad" if query.rcode in ("SERVFAIL", "REFUSED", "") else "muted"
    return QueryStep(query.name, query.qtype, query.rcode or "no answer", listing(query.answers[:3]), tone)
