"""Reads a run directory as it is, also one that a killed harness left half written.

`RunDir` is strict: it is what steps write and judge with. A report must come out of a damaged run too, so every line
that cannot be read is left out and told, and never stops the rest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.errors import ReportError
from harness.model.cause import Cause
from harness.model.records import (
    Census,
    Dump,
    Event,
    Exchange,
    FaultRun,
    LabStep,
    Lookup,
    Observation,
    Result,
    Rung,
    Tap,
)
from harness.model.run import RunDir, RunInfo
from harness.model.topology import Topology
from reports.text import redact, tail

T = TypeVar("T")

_LOG_BYTES = 64 * 1024


_FIRST_BATCH = "B0"


def _last_of_each_batch(observations: list[Observation]) -> list[Observation]:
    """A suite that ran again appends to the same file. Every run of it begins with its first batch."""
    run = 0
    before = _FIRST_BATCH
    runs: list[int] = []
    for item in observations:
        if item.batch == _FIRST_BATCH != before:
            run += 1
        before = item.batch
        runs.append(run)
    last = {item.batch: number for item, number in zip(observations, runs, strict=True)}
    return [item for item, number in zip(observations, runs, strict=True) if number == last[item.batch]]


@dataclass
class Source:
    """All records of a run, read once, without secrets.

    Args:
        run: The run directory.

    Raises:
        ReportError: When there is no such directory.
    """

    run: RunDir

    def __post_init__(self) -> None:
        """Find out early that there is nothing to read."""
        self.path: Path = self.run.path
        self.problems: list[str] = []
        if not self.path.is_dir():
            msg = f"no run directory at {self.path}"
            raise ReportError(msg, next_step="give the run directory: cnilab report .runs/<id>")

    def _text(self, name: str) -> str:
        try:
            return redact((self.path / name).read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            return ""
        except OSError as error:
            self.problems.append(f"{name}: {error.strerror or error}")
            return ""

    def _lines(self, name: str, adapter: TypeAdapter[T]) -> list[T]:
        records: list[T] = []
        unread = 0
        for line in self._text(name).split("\n"):
            if not line.strip():
                continue
            try:
                records.append(adapter.validate_json(line))
            except ValidationError:
                unread += 1
        if unread:
            self.problems.append(f"{name}: {unread} of {unread + len(records)} lines could not be read")
        return records

    @cached_property
    def info(self) -> RunInfo:
        """`run.json`, or what the directory's name tells."""
        text = self._text("run.json")
        if text:
            try:
                return RunInfo.model_validate_json(text)
            except ValidationError as error:
                self.problems.append(f"run.json: {error.error_count()} fields could not be read")
        else:
            self.problems.append("run.json: missing; the run ended before it was written")
        return RunInfo(
            id=self.path.name, lab="unknown", started="", variant="unknown", provider="unknown", kubernetes="", nodes=0
        )

    @cached_property
    def events(self) -> list[Event]:
        """Steps of the harness, in the order in which they were written."""
        return self._lines("events.jsonl", TypeAdapter(Event))

    @cached_property
    def observations(self) -> list[Observation]:
        """What the probes saw; of a batch that ran more than once, the last time."""
        return _last_of_each_batch(self._lines("observations.jsonl", TypeAdapter(Observation)))

    @cached_property
    def exchanges(self) -> list[Exchange]:
        """Questions to responders."""
        return [item for item in self.observations if isinstance(item, Exchange)]

    @cached_property
    def rungs(self) -> list[Rung]:
        """Steps of MTU ladders."""
        return [item for item in self.observations if isinstance(item, Rung)]

    @cached_property
    def lookups(self) -> list[Lookup]:
        """DNS questions."""
        return [item for item in self.observations if isinstance(item, Lookup)]

    @cached_property
    def taps(self) -> list[Tap]:
        """Captures."""
        return [item for item in self.observations if isinstance(item, Tap)]

    @cached_property
    def dumps(self) -> list[Dump]:
        """Kernel and API state."""
        return [item for item in self.observations if isinstance(item, Dump)]

    @cached_property
    def results(self) -> list[Result]:
        """The last verdict on each requirement, in the order of first appearance."""
        last: dict[str, Result] = {}
        for result in self._lines("results.jsonl", TypeAdapter(Result)):
            last[result.id] = result
        return list(last.values())

    @cached_property
    def causes(self) -> list[Cause]:
        """Why requirements are not met, the cause of most first."""
        return self._lines("causes.jsonl", TypeAdapter(Cause))

    @cached_property
    def lab_steps(self) -> list[LabStep]:
        """Expectations of labs, in the order in which they were judged."""
        return self._lines("labs.jsonl", TypeAdapter(LabStep))

    @cached_property
    def faults(self) -> list[FaultRun]:
        """The last run of each fault."""
        last: dict[str, FaultRun] = {}
        for fault in self._lines("faults.jsonl", TypeAdapter(FaultRun)):
            last[fault.fault] = fault
        return list(last.values())

    @cached_property
    def census(self) -> Census | None:
        """`census.json`, if all checks were judged under each fault."""
        text = self._text("census.json")
        if not text:
            return None
        try:
            return Census.model_validate_json(text)
        except ValidationError as error:
            self.problems.append(f"census.json: {error.error_count()} fields could not be read")
            return None

    @cached_property
    def topology(self) -> Topology | None:
        """`topology.json`, if the run got that far."""
        text = self._text("topology.json")
        if not text:
            return None
        try:
            return Topology.model_validate_json(text)
        except ValidationError as error:
            self.problems.append(f"topology.json: {error.error_count()} fields could not be read")
            return None

    def files(self, directory: str) -> list[str]:
        """Paths of the files below a directory of the run, sorted, relative to the run directory."""
        top = self.path / directory
        if not top.is_dir():
            return []
        return sorted(str(path.relative_to(self.path)) for path in top.rglob("*") if path.is_file())

    def log_tail(self, name: str, lines: int = 30) -> str:
        """The last lines of a log, without secrets.

        Args:
            name: Relative to the run directory; anything outside of it reads as empty.
            lines: How many.
        """
        path = (self.path / name).resolve()
        if not path.is_relative_to(self.path.resolve()) or not path.is_file():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            return tail(redact(file.read().decode(errors="replace")), lines)

    @cached_property
    def spec(self) -> dict[str, object]:
        """The lab's spec as recorded; read back from JSON so that its keys are plain."""
        decoded: dict[str, object] = json.loads(json.dumps(self.info.spec))
        return decoded
