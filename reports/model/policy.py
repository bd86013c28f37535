"""Policies: what the API says of every connection, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from reports.model.common import Mark
from reports.model.network import Cell


@dataclass(frozen=True)
class PolicyTable:
    """The connections of a case in one direction.

    Args:
        title: Which ends are rows, which are columns.
        groups: Pods that the case closes, and how many columns each has.
        services: `tcp 8080`, one per column.
        rows: The other ends, with a cell per column.
    """

    title: str
    groups: tuple[tuple[str, int], ...]
    services: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class PolicyCase:
    """Policies that were tried, and what they did."""

    anchor: str
    title: str
    requirement: str
    mark: Mark
    summary: str
    tables: tuple[PolicyTable, ...]
    policies: tuple[str, ...]
    open: bool


@dataclass(frozen=True)
class PolicyProblem:
    """A connection that was not as the API says; its IP family is named where there are both."""

    mark: Mark
    src: str
    dst: str
    service: str
    case: str
    href: str
    why: str
    family: str = ""


@dataclass(frozen=True)
class Policies:
    """All of it.

    Args:
        enforced: The variant says that somebody enforces policies.
        mark: Of the whole.
        sentence: What was found.
        note: How long enforcement took.
        problems: Leaks first.
        left_out: How many more there are.
        overviews: Pods by pods, a table for each IP family, where nobody enforces anything.
        cases: In the order in which they were tried.
        legend: Marks with their counts.
    """

    enforced: bool
    mark: Mark
    sentence: str
    note: str
    problems: tuple[PolicyProblem, ...]
    left_out: int
    overviews: tuple[PolicyTable, ...]
    cases: tuple[PolicyCase, ...]
    legend: tuple[tuple[Mark, int], ...]
