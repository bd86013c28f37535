"""What a requirement is, and what judging it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from conformance.batches import Batch
from harness.model.family import Family
from harness.model.records import Control, Evidence, Leg
from harness.model.requirement import Area, Level
from harness.model.variant import Gate

if TYPE_CHECKING:
    from conformance.context import Context


@dataclass(frozen=True)
class Verdict:
    """What a judge says: one leg per pair, name or node, and the controls that give the legs a meaning.

    Args:
        legs: Everything that was examined. An empty tuple is a broken census, never a pass.
        controls: Positive controls and inverted probes; one that is not ok turns the whole verdict into `error`.
        evidence: What proves the failed legs.
        total: Legs that a complete examination would have had; None: as many as there are.
        summary: One sentence for the case that everything passed.
        unsure: Families whose controls are not all ok, where a verdict has several families.
    """

    legs: tuple[Leg, ...]
    controls: tuple[Control, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    total: int | None = None
    summary: str = ""
    unsure: tuple[Family, ...] = ()


Judge = Callable[["Context"], Verdict]


@dataclass(frozen=True)
class Check:
    """A requirement on a cluster's network and the pure function that judges it.

    Args:
        id: Stable and never reused: `model.no-nat.cross-node`.
        title: The claim as a person would say it, without a full stop.
        level: M must hold, S should hold, R is only recorded.
        source: Where the claim comes from; empty for a rule of this project.
        gates: Features without which the claim makes no sense.
        batch: The batch of probes whose observations it needs.
        judge: Verdict from observations.
        causes: What usually breaks it.
        next: Commands to type next, with gaps like `{destination}` that its first failed leg fills (`advice`).
        after: Prerequisites: when one of them does not pass, this one is blocked rather than judged.
        needs: Further batches whose observations it reads.
        once: It bears no addresses, so that it is judged once and not for each IP family.
        inverse: What the inverted probe inside the check shows, for checks that no fault can kill safely.
        area: The part of the catalogue that it is of; the registry says which.
    """

    id: str
    title: str
    level: Level
    batch: Batch
    judge: Judge
    source: str = ""
    gates: tuple[Gate, ...] = ()
    causes: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    needs: tuple[Batch, ...] = ()
    once: bool = False
    inverse: str = ""
    area: Area | Literal[""] = ""

    def applies(self, gates: Mapping[str, bool]) -> bool:
        """All its gates are open."""
        return all(gates.get(gate, False) for gate in self.gates)

    @property
    def batches(self) -> tuple[Batch, ...]:
        """All batches that the judge reads."""
        return (self.batch, *self.needs)
