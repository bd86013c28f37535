"""The directory of a mutation run: its plan, the run directories in it, and the page that is written of them.

mutation.json         which networks and faults were asked for
flannel/              run directory of a network: census.json, faults.jsonl, report.html
flannel-2/            another one, of the same run continued
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from harness import files
from harness.cni import catalogue as networks
from harness.errors import UsageError
from harness.faults.catalogue import choose, faults
from harness.model.base import Record
from harness.model.mutation import Column, MutationTable
from harness.model.records import FaultRun
from harness.model.run import RunDir
from harness.steps.mutation.page import page
from harness.steps.mutation.table import column, joined, updated

PLAN: Final = "mutation.json"
"""File of the plan; of a page's data, too, which is beside the page."""


class Plan(Record):
    """What was asked for."""

    variants: tuple[str, ...] = Field(min_length=1)
    faults: tuple[str, ...] = Field(default=(), description="Ids; empty for all")
    nodes: Annotated[int, Field(ge=1)] = 2
    explain: bool = Field(default=False, description="Causes are told, too")


def plan(variants: Sequence[str], only: Sequence[str], nodes: int, *, explain: bool = False) -> Plan:
    """What a user asks for.

    Args:
        variants: Names of networks.
        only: Ids or names of faults; empty for all.
        nodes: Of each cluster.
        explain: Have causes told, too.

    Raises:
        UsageError: There is no such network, or no such fault.
    """
    known = networks.names()
    unknown = [name for name in variants if name not in known]
    if unknown or not variants:
        msg = f"there is no network named {unknown[0]!r}" if unknown else "no network is named"
        raise UsageError(msg, next_step=f"networks: {', '.join(known)}")
    return Plan(
        variants=tuple(dict.fromkeys(variants)), faults=tuple(one.id for one in choose(only)) if only else (),
        nodes=nodes, explain=explain,
    )  # fmt: skip


class Night:
    """The directory of a mutation run.

    Args:
        path: The directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, wanted: Plan) -> None:
        """Write the plan.

        Raises:
            UsageError: The directory has one already.
        """
        if (self.path / PLAN).exists():
            msg = f"{self.path} contains an earlier mutation run"
            raise UsageError(msg, next_step=f"continue it with --resume {self.path}, or set another directory")
        self.path.mkdir(parents=True, exist_ok=True)
        files.replace(self.path / PLAN, json.dumps(wanted.model_dump(mode="json"), indent=2) + "\n")

    def plan(self) -> Plan:
        """Read the plan.

        Raises:
            UsageError: There is none.
        """
        try:
            return Plan.model_validate_json((self.path / PLAN).read_bytes())
        except (OSError, ValidationError) as error:
            msg = f"{self.path} is no directory of a mutation run"
            step = "give --resume the directory that 'cnilab mutate' named"
            raise UsageError(msg, cause=str(error).splitlines()[0], next_step=step) from error

    def runs(self, variant: str) -> list[RunDir]:
        """Run directories of a network, oldest first."""
        found = [RunDir(path.parent) for path in self.path.glob("*/run.json")]
        mine = [(run.info(), run) for run in found if run.info().variant == variant]
        return [run for _, run in sorted(mine, key=lambda pair: pair[0].started)]

    def free(self, variant: str) -> Path:
        """A directory for the next run of a network."""
        names = (variant, *(f"{variant}-{number}" for number in range(2, 1000)))
        return next(path for name in names if not (path := self.path / name).exists())

    def done(self, variant: str) -> frozenset[str]:
        """Ids of faults that have a verdict; what ended in an error is tried again."""
        records = [one for run in self.runs(variant) for one in run.faults()]
        last: dict[str, FaultRun] = {one.fault: one for one in records}
        return frozenset(name for name, one in last.items() if one.outcome != "error")

    def left(self, variant: str, wanted: Plan) -> list[str]:
        """Ids of faults that are still to be run on a network."""
        done = self.done(variant)
        return [fault.id for fault in choose(wanted.faults) if fault.id not in done]

    def columns(self, variants: Collection[str]) -> list[Column]:
        """What there is of each network, weighed by the catalogue as it is now."""
        known = {fault.id: fault for fault in faults()}
        found: list[Column] = []
        for variant in variants:
            parts = []
            for run in self.runs(variant):
                census = run.census()
                if census is not None:
                    parts.append(column(run.info(), census, run.faults(), known))
            found += [joined(parts)] if parts else []
        return list(updated(MutationTable(), found, list(known)).columns)


def data_of(target: Path) -> Path:
    """Where a page's data is: beside it."""
    return target.with_suffix(".json")


def read(target: Path) -> MutationTable:
    """The data of a page that was written before; an empty table if there is none.

    Raises:
        UsageError: The file is no data of such a page.
    """
    source = data_of(target)
    if not source.exists():
        return MutationTable()
    try:
        return MutationTable.model_validate_json(source.read_bytes())
    except ValidationError as error:
        msg = f"{source} is not the data of a mutation table"
        raise UsageError(msg, cause=str(error).splitlines()[0], next_step="set another file with --write") from error


def write(target: Path, columns: Sequence[Column]) -> MutationTable:
    """Write a page and its data, with what is new since the one before.

    Args:
        target: The page.
        columns: What was run; other columns of the page stay.

    Returns:
        The table as written.
    """
    catalogue = faults()
    table = updated(read(target), columns, [fault.id for fault in catalogue])
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(table.model_dump(mode="json", by_alias=True, exclude_defaults=True), indent=1) + "\n"
    files.replace(data_of(target), text)
    files.replace(target, page(table, catalogue))
    return table
