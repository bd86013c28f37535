"""A run directory: everything that a report is made of, and nothing else.

    run.json            what ran, on what, with which pins
    events.jsonl        steps of the harness
    observations.jsonl  what the probes saw
    results.jsonl       verdicts on requirements
    labs.jsonl          steps of labs with their verdicts
    faults.jsonl        mutation runs of the suite
    topology.json       nodes, links, addresses, routes
    captures/ logs/ ansible/ kubeconfig report.html junit.xml summary.md

Lines are appended and flushed one by one, so that a killed harness loses nothing that it had seen.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, TypeAdapter

from harness import files
from harness.model.base import Record
from harness.model.records import Event, FaultRun, LabStep, Observation, Result
from harness.model.topology import Topology

R = TypeVar("R", bound=Record)

_OBSERVATION: TypeAdapter[Observation] = TypeAdapter(Observation)


class Pin(Record):
    """A program or image of the cluster."""

    name: str
    version: str
    source: str = Field(
        description="system, package, release, build, module; pulled, brought; own: a program of the user"
    )
    digest: str = Field(default="", description="sha256 of the file used")
    edits: tuple[str, ...] = Field(default=(), description="Where its source differs from its project's, by names")


class RunInfo(Record):
    """Content of `run.json`."""

    schema_: int = Field(default=1, alias="schema")
    id: str
    lab: str
    started: str = Field(description="RFC 3339, UTC")
    finished: str = ""
    variant: str
    provider: str
    kubernetes: str
    nodes: int
    spec: dict[str, Any] = Field(default_factory=dict)
    reproduce: str = Field(default="", description="The command line that does it again")
    version: str = Field(default="", description="Version of cnilab")
    host: dict[str, str] = Field(default_factory=dict, description="Kernel, cores, memory, distribution")
    pins: tuple[Pin, ...] = ()
    failure: dict[str, str] = Field(default_factory=dict, description="Why the cluster itself failed, if it did")


class RunDir:
    """Reads and writes a run directory; safe to append to from several threads.

    Args:
        path: The directory; made on the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def _append(self, name: str, records: Iterable[Record]) -> None:
        text = "".join(record.line() + "\n" for record in records)
        with self._lock:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / name).open("a", encoding="utf-8") as file:
                file.write(text)

    def _read(self, name: str, kind: type[R]) -> list[R]:
        path = self.path / name
        if not path.exists():
            return []
        with path.open(encoding="utf-8") as file:
            return [kind.model_validate_json(line) for line in file if line.strip()]

    def _write(self, name: str, text: str) -> None:
        """Replace a file whole: a reader never sees half of it."""
        self.path.mkdir(parents=True, exist_ok=True)
        files.replace(self.path / name, text)

    def write_info(self, info: RunInfo) -> None:
        """Write `run.json`."""
        self._write("run.json", json.dumps(info.model_dump(mode="json", by_alias=True), indent=2) + "\n")

    def info(self) -> RunInfo:
        """Read `run.json`."""
        return RunInfo.model_validate_json((self.path / "run.json").read_text(encoding="utf-8"))

    def add_event(self, event: Event) -> None:
        """Append to `events.jsonl`."""
        self._append("events.jsonl", [event])

    def events(self) -> list[Event]:
        """All of `events.jsonl`."""
        return self._read("events.jsonl", Event)

    def add_observations(self, observations: Iterable[Observation]) -> None:
        """Append to `observations.jsonl`."""
        self._append("observations.jsonl", observations)

    def observations(self) -> list[Observation]:
        """All of `observations.jsonl`."""
        path = self.path / "observations.jsonl"
        if not path.exists():
            return []
        with path.open(encoding="utf-8") as file:
            return [_OBSERVATION.validate_json(line) for line in file if line.strip()]

    def add_results(self, results: Iterable[Result]) -> None:
        """Append to `results.jsonl`."""
        self._append("results.jsonl", results)

    def results(self) -> list[Result]:
        """The last verdict on each requirement, in the order of first appearance."""
        last: dict[str, Result] = {}
        for result in self._read("results.jsonl", Result):
            last[result.id] = result
        return list(last.values())

    def add_lab_steps(self, steps: Iterable[LabStep]) -> None:
        """Append to `labs.jsonl`."""
        self._append("labs.jsonl", steps)

    def lab_steps(self) -> list[LabStep]:
        """All of `labs.jsonl`."""
        return self._read("labs.jsonl", LabStep)

    def add_faults(self, faults: Iterable[FaultRun]) -> None:
        """Append to `faults.jsonl`."""
        self._append("faults.jsonl", faults)

    def faults(self) -> list[FaultRun]:
        """All of `faults.jsonl`."""
        return self._read("faults.jsonl", FaultRun)

    def write_topology(self, topology: Topology) -> None:
        """Write `topology.json`."""
        self._write("topology.json", json.dumps(topology.model_dump(mode="json", by_alias=True), indent=1) + "\n")

    def topology(self) -> Topology | None:
        """Read `topology.json`, if the run got that far."""
        path = self.path / "topology.json"
        return Topology.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None

    def directory(self, name: str) -> Path:
        """A sub-directory such as `captures`, made on demand."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path
