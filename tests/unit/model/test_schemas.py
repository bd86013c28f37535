"""Schemas of records: what a run directory has is as they say."""

from __future__ import annotations

import json

import jsonschema
import pytest

from harness.cli.commands.schema import KINDS
from harness.model.records import Event
from harness.model.schemas import RECORDS, schema
from tests.unit.conformance import simlab


def test_every_kind_has_a_schema_that_is_one() -> None:
    assert {"spec", *RECORDS} == set(KINDS)
    for kind in KINDS:
        jsonschema.Draft202012Validator.check_schema(schema(kind))


def test_lines_of_a_run_are_as_their_schemas_say() -> None:
    valid = jsonschema.Draft202012Validator(schema("observation"))
    for one in simlab.GREEN:
        valid.validate(json.loads(one.line()))
    results = jsonschema.Draft202012Validator(schema("result"))
    results.validate(json.loads(simlab.verdict(simlab.green(), "model.loss").line()))
    event = Event(at="2026-01-01T00:00:00.000000Z", step="up", state="ok")
    jsonschema.Draft202012Validator(schema("event")).validate(json.loads(event.line()))


def test_a_line_of_another_form_is_refused() -> None:
    valid = jsonschema.Draft202012Validator(schema("observation"))
    line = json.loads(simlab.GREEN[0].line())
    with pytest.raises(jsonschema.ValidationError):
        valid.validate({**line, "kind": "rumour"})
    with pytest.raises(jsonschema.ValidationError):
        valid.validate({**line, "batch": 7})
