"""JSON schemas of what a user writes and of what a run directory has: for editors, and for programs that read runs."""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter

from harness.model.cause import Answer, Cause
from harness.model.document import API_VERSION
from harness.model.document import schema as of_spec
from harness.model.records import Event, FaultRun, LabStep, Observation, Result
from harness.model.run import RunInfo

RECORDS: Final[dict[str, tuple[Any, str]]] = {
    "run": (RunInfo, "run.json"),
    "event": (Event, "a line of events.jsonl"),
    "observation": (Observation, "a line of observations.jsonl"),
    "result": (Result, "a line of results.jsonl"),
    "cause": (Cause, "a line of causes.jsonl"),
    "lab-step": (LabStep, "a line of labs.jsonl"),
    "fault": (FaultRun, "a line of faults.jsonl"),
    "answer": (Answer, "answer.json of a stored case"),
}
"""Kind of a record: its type, and where it is in a run directory, or in a case, which is one, too."""


def schema(kind: str = "spec") -> dict[str, Any]:
    """The JSON schema of a cluster spec, or of a record.

    Args:
        kind: `spec`, or a key of `RECORDS`.
    """
    if kind == "spec":
        return of_spec()
    record, where = RECORDS[kind]
    described = TypeAdapter(record).json_schema(by_alias=True, mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://{API_VERSION}/{kind}.schema.json",
        **described,
        "title": f"cnilab: {where}",
    }
