"""A run directory: everything that a report is made of, and nothing else.

    run.json            what ran, on what, with which pins
    events.jsonl        steps of the harness
    observations.jsonl  what the probes saw
    results.jsonl       verdicts on requirements
    causes.jsonl        why some are not met
    labs.jsonl          steps of labs with their verdicts
    faults.jsonl        mutation runs of the suite
    census.json         which checks were judged under each fault, if all were
    topology.json       nodes, links, addresses, routes
    captures/ logs/ ansible/ kubeconfig report.html junit.xml summary.md

A file of lines may be packed (`observations.jsonl.gz`), as those of stored cases are; then nothing is added to it.

Lines are appended and flushed one by one, so that a killed harness loses nothing that it had seen. A line without an
end is what a killed harness was writing: it is no record.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from harness import files
from harness.errors import UsageError
from harness.model.base import Record
from harness.model.cause import Cause
from harness.model.records import Census, Event, FaultRun, LabStep, Observation, Result
from harness.model.topology import Topology

R = TypeVar("R", bound=Record)

T = TypeVar("T")

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


class DamagedRunError(UsageError):
    """A file of a run directory is not what this version writes."""


@contextmanager
def _readable(where: str) -> Iterator[None]:
    """Say where a record is that cannot be read, and what is wrong with it."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        msg = "the run directory is damaged, or another version wrote it"
        raise DamagedRunError(
            msg,
            cause=": ".join(filter(None, [place, first["msg"]])),
            where=where,
            next_step="use the version that run.json names, or take another run",
        ) from error


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    """A packed file, to be read line by line; raises DamagedRunError where it is cut or is no such file."""
    try:
        yield io.BytesIO(gzip.decompress(path.read_bytes()))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        msg = "the run directory is damaged"
        raise DamagedRunError(msg, cause=str(error), where=str(path), next_step="take another run") from error


def _drop_unfinished(file: BinaryIO) -> None:
    """Take away the end of a file that is no whole line: whoever wrote it was killed."""
    end = file.seek(0, os.SEEK_END)
    if end and (file.seek(end - 1), file.read(1))[1] != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


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
            with (self.path / name).open("ab+") as file:
                _drop_unfinished(file)
                file.write(text.encode())

    def _read(self, name: str, kind: type[R]) -> list[R]:
        return list(self._records(name, kind.model_validate_json))

    def _records(self, name: str, parse: Callable[[bytes], T]) -> Iterator[T]:
        path = self.path / name
        packed = path.with_name(f"{name}.gz")
        if not path.exists() and not packed.exists():
            return
        with path.open("rb") if path.exists() else _unpacked(packed) as file:
            for number, line in enumerate(file, start=1):
                if line.strip() and line.endswith(b"\n"):
                    with _readable(f"{path}:{number}"):
                        record = parse(line)
                    yield record

    def _write(self, name: str, text: str) -> None:
        """Replace a file whole: a reader never sees half of it."""
        self.path.mkdir(parents=True, exist_ok=True)
        files.replace(self.path / name, text)

    def write_info(self, info: RunInfo) -> None:
        """Write `run.json`."""
        self._write("run.json", json.dumps(info.model_dump(mode="json", by_alias=True), indent=2) + "\n")

    def info(self) -> RunInfo:
        """Read `run.json`."""
        path = self.path / "run.json"
        with _readable(str(path)):
            return RunInfo.model_validate_json(path.read_bytes())

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
        return list(self._records("observations.jsonl", _OBSERVATION.validate_json))

    def add_results(self, results: Iterable[Result]) -> None:
        """Append to `results.jsonl`."""
        self._append("results.jsonl", results)

    def results(self) -> list[Result]:
        """The last verdict on each requirement, in the order of first appearance."""
        last: dict[str, Result] = {}
        for result in self._read("results.jsonl", Result):
            last[result.id] = result
        return list(last.values())

    def write_causes(self, causes: Iterable[Cause]) -> None:
        """Write `causes.jsonl`, whole: causes are those of the last verdicts."""
        self._write("causes.jsonl", "".join(cause.line() + "\n" for cause in causes))

    def causes(self) -> list[Cause]:
        """Why requirements are not met, the cause of most first."""
        return self._read("causes.jsonl", Cause)

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

    def write_census(self, census: Census) -> None:
        """Write `census.json`."""
        self._write("census.json", json.dumps(census.model_dump(mode="json", by_alias=True), indent=1) + "\n")

    def census(self) -> Census | None:
        """Read `census.json`, if all checks were judged under faults."""
        path = self.path / "census.json"
        if not path.exists():
            return None
        with _readable(str(path)):
            return Census.model_validate_json(path.read_bytes())

    def write_topology(self, topology: Topology) -> None:
        """Write `topology.json`."""
        self._write("topology.json", json.dumps(topology.model_dump(mode="json", by_alias=True), indent=1) + "\n")

    def topology(self) -> Topology | None:
        """Read `topology.json`, if the run got that far."""
        path = self.path / "topology.json"
        if not path.exists():
            return None
        with _readable(str(path)):
            return Topology.model_validate_json(path.read_bytes())

    def directory(self, name: str) -> Path:
        """A sub-directory such as `captures`, made on demand."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path
