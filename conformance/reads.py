"""What a check reads of a run, found out by having it judge one: so that a second look asks for nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from conformance.context import Context
from conformance.judging import judge_all
from conformance.model import Check
from harness.model.records import Burst, Exchange, Lookup

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Reads:
    """What some checks read.

    Args:
        purposes: Of exchanges, look-ups and bursts.
        subjects: Of dumps (`what`): addr, route, counters …
    """

    purposes: frozenset[str]
    subjects: frozenset[str]


class _Noting(Mapping[K, V]):
    """A mapping that tells which of its keys are looked up; whoever goes through it whole has read all."""

    def __init__(self, whole: Mapping[K, V], note: Callable[[K], None]) -> None:
        self._whole, self._note = whole, note

    def __getitem__(self, key: K) -> V:
        self._note(key)
        return self._whole[key]

    def __iter__(self) -> Iterator[K]:
        for key in self._whole:
            self._note(key)
        return iter(self._whole)

    def __len__(self) -> int:
        return len(self._whole)


@dataclass(frozen=True)
class _Reader(Context):
    """A run that notes what of it is read."""

    purposes: set[str] = field(default_factory=set, repr=False, compare=False)
    subjects: set[str] = field(default_factory=set, repr=False, compare=False)

    @cached_property
    def exchanges(self) -> Mapping[str, tuple[Exchange, ...]]:  # type: ignore[override]  # read only, as judges use it
        return _Noting(super().exchanges, self.purposes.add)

    @cached_property
    def lookups(self) -> Mapping[str, tuple[Lookup, ...]]:  # type: ignore[override]
        return _Noting(super().lookups, self.purposes.add)

    @cached_property
    def bursts(self) -> Mapping[str, tuple[Burst, ...]]:  # type: ignore[override]
        return _Noting(super().bursts, self.purposes.add)

    @cached_property
    def dumps(self) -> Mapping[tuple[str, str, str], Any]:  # type: ignore[override]
        return _Noting(super().dumps, lambda key: self.subjects.add(key[-1]))

    @cached_property
    def batched_dumps(self) -> Mapping[tuple[str, str, str, str], Any]:  # type: ignore[override]
        return _Noting(super().batched_dumps, lambda key: self.subjects.add(key[-1]))

    def exchange(self, purpose: str, src: str, dst: str, proto: str) -> Exchange | None:
        self.purposes.add(purpose)
        return super().exchange(purpose, src, dst, proto)


def reads(run: Context, chosen: Sequence[Check], checks: Mapping[str, Check]) -> Reads:
    """What checks and their prerequisites read of a run.

    Args:
        run: One that they all can judge.
        chosen: The checks.
        checks: All checks by id, to find prerequisites.
    """
    reader = _Reader(run.spec, run.variant, run.inventory, run.observations)
    judge_all(reader, chosen, checks)
    return Reads(frozenset(reader.purposes), frozenset(reader.subjects))


def kept(plan: Mapping[str, Sequence[Any]], only: Reads | None) -> dict[str, list[Any]]:
    """The probes of a plan whose purpose is read; all of them for None. Places without any are left out."""
    chosen = {
        place: [one for one in probes if only is None or one.purpose in only.purposes] for place, probes in plan.items()
    }
    return {place: probes for place, probes in chosen.items() if probes}
