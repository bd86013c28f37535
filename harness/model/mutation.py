"""The mutation table: each fault on each network, and which checks noticed. The data behind `docs/mutation.md`."""

from __future__ import annotations

from pydantic import Field

from harness.model.base import Record
from harness.model.records import FaultOutcome


class Cell(Record):
    """A fault on a network."""

    fault: str
    outcome: FaultOutcome
    killed_by: tuple[str, ...] = Field(default=(), description="Checks, or legs of checks, that failed as they must")
    survived: tuple[str, ...] = Field(default=(), description="Those that should have failed and did not")
    imprecise: tuple[str, ...] = Field(default=(), description="Those that should have been spared and failed")
    beside: tuple[str, ...] = Field(default=(), description="Checks that failed, as the catalogue says they may")
    unjudged: tuple[str, ...] = Field(default=(), description="Checks that gave no verdict")
    named: int | None = Field(
        default=None,
        description="Place among the causes of the one that names what was broken; 0: none; null: not asked",
    )
    causes: int = Field(default=0, description="Causes that were told")
    left_out: int = Field(default=0, description="Checks that the fault cannot reach, and were not run")
    judged: int = Field(default=0, description="Checks that were judged")
    reason: str = Field(default="", description="Why there is no verdict on the suite; empty if there is one")
    at: str = Field(default="", description="When it was run: RFC 3339, UTC")
    seconds: float = 0.0


class Column(Record):
    """A network with its faults."""

    variant: str
    nodes: int
    kubernetes: str
    kernel: str
    versions: dict[str, str] = Field(default_factory=dict, description="Programs of the cluster, with their versions")
    program: str = Field(default="", description="Version of cnilab")
    checks: tuple[str, ...] = Field(description="Checks that were judged under each fault")
    unsteady: tuple[str, ...] = Field(default=(), description="Checks that did not pass before the first fault")
    recorded: tuple[str, ...] = Field(default=(), description="Checks that can never fail here")
    cells: tuple[Cell, ...] = ()


class MutationTable(Record):
    """All networks, and what is new since the table before."""

    schema_: int = Field(default=1, alias="schema")
    columns: tuple[Column, ...] = ()
    changes: tuple[str, ...] = Field(default=(), description="Sentences on what is other than in the table before")
    before: str = Field(default="", description="The newest date of the table before; empty if there was none")
