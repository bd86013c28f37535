"""DNS and Services."""

from __future__ import annotations

from dataclasses import dataclass

from reports.model.common import Mark, Tone


@dataclass(frozen=True)
class QueryStep:
    """One query of a lookup."""

    name: str
    qtype: str
    rcode: str
    answers: str
    tone: Tone


@dataclass(frozen=True)
class LookupRow:
    """A DNS question, from all the pods that asked it.

    Args:
        name: As asked.
        qtype: A, SRV …
        sources: Who asked.
        transport: udp, tcp or getaddrinfo.
        mark: What came back.
        result: The answer, or why there is none.
        steps: The queries that one lookup caused, when it caused several.
        ms: Median time.
        times: How often it was asked.
    """

    name: str
    qtype: str
    sources: str
    transport: str
    mark: Mark
    result: str
    steps: tuple[QueryStep, ...]
    ms: str
    times: int


@dataclass(frozen=True)
class LookupGroup:
    """Questions with one purpose."""

    title: str
    rows: tuple[LookupRow, ...]


@dataclass(frozen=True)
class Dns:
    """All lookups, by what they are for; `main` is what most people want to see."""

    main: tuple[LookupGroup, ...]
    more: tuple[LookupGroup, ...]
    sentence: str
    left_out: int = 0


@dataclass(frozen=True)
class Share:
    """How many dials one backend answered."""

    name: str
    count: int
    node: str = ""


@dataclass(frozen=True)
class ServiceRow:
    """What was dialled, from where, who answered, and whom they saw."""

    purpose: str
    name: str
    target: str
    proto: str
    sources: str
    mark: Mark
    dials: int
    answered: tuple[Share, ...]
    seen_as: str
    detail: str
    family: str = ""


@dataclass(frozen=True)
class Services:
    """Dials of Services, and of the outside world."""

    inside: tuple[ServiceRow, ...]
    outside: tuple[ServiceRow, ...]
