"""DNS as pods see it: what was asked, every query that this caused, and what came back."""

from __future__ import annotations

from typing import Final

from harness.model.records import Lookup, Query
from reports.model import Dns, LookupRow, Mark, QueryStep, Tone
from reports.text import duration, listing, plural

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
    "ptr": "Addresses back to names (PTR)",
    "tcp": "The same over TCP",
    "large-udp": "A large answer over UDP",
    "large-tcp": "A large answer over TCP",
    "large-edns": "A large answer with EDNS",
    "forward": "Names outside the cluster",
    "every-pod": "One name from every pod",
    "latency": "Repeated, for the time it takes",
}
"""What the suite's purposes mean to a reader; others are shown as they are."""

_ROWS_PER_GROUP = 5
_STEPS = 12


def dns(lookups: list[Lookup]) -> Dns | None:
    """The DNS panel; None when nobody asked.

    Args:
        lookups: All of the run.
    """
    if not lookups:
        return None
    groups: dict[str, list[Lookup]] = {}
    for lookup in lookups:
        groups.setdefault(lookup.purpose or "other", []).append(lookup)
    left_out = sum(max(0, len(found) - _ROWS_PER_GROUP) for found in groups.values())
    queries = sum(len(lookup.queries) for lookup in lookups)
    answered = sum(lookup.outcome == "ok" for lookup in lookups)
    times = sorted(lookup.ms for lookup in lookups if lookup.outcome == "ok")
    sentence = f"{answered} of {plural(len(lookups), 'lookup')} got an answer"
    if queries:
        sentence += f"; they took {plural(queries, 'query', 'queries')} on the wire"
    if times:
        sentence += f"; half of them took {duration(times[len(times) // 2] / 1000)} or less"
    return Dns(
        groups=tuple(
            (_PURPOSES.get(purpose, purpose.replace("-", " ")), tuple(_row(lookup) for lookup in _pick(found)))
            for purpose, found in groups.items()
        ),
        sentence=f"{sentence}.",
        left_out=left_out,
    )


def _pick(found: list[Lookup]) -> list[Lookup]:
    """Failures first; then one per name before the same name from the next pod."""
    seen: dict[tuple[str, str, str], int] = {}
    ranked: list[tuple[bool, int, int, Lookup]] = []
    for index, lookup in enumerate(found):
        key = (lookup.name, lookup.qtype, lookup.transport)
        turn = seen.get(key, 0)
        seen[key] = turn + 1
        ranked.append((lookup.outcome == "ok", turn, index, lookup))
    return [lookup for *_, lookup in sorted(ranked, key=lambda item: item[:3])][:_ROWS_PER_GROUP]


def _mark(lookup: Lookup) -> Mark:
    if lookup.outcome != "ok" or lookup.rcode in ("SERVFAIL", "REFUSED", "FORMERR"):
        return Mark("bad", "✗", "no usable answer")
    if lookup.answers:
        return Mark("good", "✓", "answered")
    return Mark("note", "∅", "no such record")


def _row(lookup: Lookup) -> LookupRow:
    if lookup.outcome != "ok":
        result: str = lookup.outcome
    elif lookup.answers:
        result = listing(lookup.answers[:4]) + (
            f" and {len(lookup.answers) - 4} more" if len(lookup.answers) > 4 else ""
        )
    else:
        result = lookup.rcode or "no answer"
    if lookup.truncated:
        result += " (truncated)"
    return LookupRow(
        purpose=lookup.purpose,
        src=f"{lookup.src} ({lookup.src_node})" if lookup.src_node else lookup.src,
        name=lookup.name,
        qtype=lookup.qtype,
        transport="getaddrinfo" if lookup.transport == "libc" else lookup.transport,
        server=lookup.server,
        mark=_mark(lookup),
        result=result,
        steps=tuple(map(_step, lookup.queries[:_STEPS])) if len(lookup.queries) > 1 else (),
        ms=duration(lookup.ms / 1000) if lookup.ms else "",
    )


def _step(query: Query) -> QueryStep:
    tone: Tone = "good" if query.answers else "bad" if query.rcode in ("SERVFAIL", "REFUSED", "") else "muted"
    return QueryStep(query.name, query.qtype, query.rcode or "no answer", listing(query.answers[:3]), tone)
