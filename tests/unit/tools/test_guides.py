"""Guides list every key, name and value that the code knows, and none that it does not know."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest

from conformance.model import Check
from harness.cni.network import Network
from harness.model import fault, lab, labfile
from harness.model.base import Data
from harness.model.expression import BUILT_IN, FILTERS, METHODS
from harness.model.variant import Expectations
from harness.providers.protocol import Driver
from tests.unit.tools.pages import FENCE

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
LAB = "writing-a-lab.md"
BY_TOPIC = "From a topic to its lab"
"""The last section of the labs' own page; all others are chapters."""


def section(page: str, heading: str) -> str:
    """A section of a page, without blocks of code and without the sections after it."""
    text = FENCE.sub("", (DOCS / page).read_text(encoding="utf-8"))
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^\1 |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section {heading!r}"
    return found[2]


def rows(page: str, heading: str, head: str) -> list[list[str]]:
    """Cells of the table whose first heading is `head`, row by row."""
    _, found, rest = section(page, heading).partition(f"| {head} |")
    assert found, f"section {heading!r} of {page} has no table of {head!r}"
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [re.split(r" \| ", line.strip("| ")) for line in lines]


def names(page: str, heading: str, head: str) -> list[str]:
    """Names in code in the first column, without arguments."""
    spans = [span for row in rows(page, heading, head) for span in re.findall(r"`([^`]+)`", row[0])]
    return [span.partition("(")[0] for span in spans]


def keys(model: type[Data]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


@pytest.mark.parametrize(
    ("model", "heading", "head"),
    [
        (lab.LabDefinition, "The lab", "key"),
        (lab.Needs, "What it needs", "key"),
        (lab.Step, "Steps", "key"),
        (lab.Expect, "Expectations", "key"),
        (lab.Table, "Tables and plots", "key of a table"),
        (lab.Plot, "Tables and plots", "key of a plot"),
        (lab.Tap, "Captures", "key of a tap"),
        (lab.LabFault, "Faults", "key of a fault"),
        (fault.Action, "Faults", "key of a command"),
    ],
)
def test_all_keys_of_a_lab_are_listed(model: type[Data], heading: str, head: str) -> None:
    assert sorted(names(LAB, heading, head)) == sorted(keys(model))


def test_all_chapters_are_listed_with_their_sections() -> None:
    listed = rows(LAB, "The lab", "value of `chapter`")
    assert [row[0].strip("`") for row in listed] == list(get_args(lab.Chapter))
    sections = re.findall(r"^## (.+)$", (ROOT / "labs" / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {*(row[1] for row in listed), BY_TOPIC} == set(sections)


def test_every_lab_is_found_by_its_topic() -> None:
    _, _, table = (ROOT / "labs" / "README.md").read_text(encoding="utf-8").partition(f"## {BY_TOPIC}\n")
    named = set(re.findall(r"\[([a-z0-9-]+)\]\(\1/README\.md\)", table))
    assert named == {one.id for one in labfile.read_all()}


def test_all_resources_are_listed_with_their_meanings() -> None:
    listed = rows(LAB, "Labs that run at the same time", "resource")
    assert {row[0].strip("`"): row[1] for row in listed} == lab.RESOURCES


def test_all_names_of_expressions_are_listed() -> None:
    assert sorted(names(LAB, "Expressions", "name")) == sorted(lab.VARIABLES)
    assert set(names(LAB, "Expressions", "filter")) == set(FILTERS)
    own = re.search(r"These filters are Jinja's own: (.*?)\.", section(LAB, "Expressions"), re.DOTALL)
    assert own
    assert re.findall(r"`(\w+)`", own[1]) == sorted(BUILT_IN)
    methods = {row[0]: set(re.findall(r"`(\w+)`", row[1])) for row in rows(LAB, "Expressions", "methods of")}
    assert methods == {"texts": METHODS[str], "dictionaries": METHODS[dict], "lists": METHODS[list]}


def test_all_that_a_network_says_of_itself_is_listed() -> None:
    fields = [field.name for field in dataclasses.fields(Network)]
    assert names("adding-a-network.md", "1. The folder", "field") == fields
    assert names("adding-a-network.md", "2. A variant", "key") == [
        field.alias or name for name, field in Expectations.model_fields.items()
    ]


def test_all_promises_of_a_provider_are_listed() -> None:
    wanted = [word for word in vars(Driver) if not word.startswith("_")]
    assert names("adding-a-provider.md", "2. The promises", "member") == wanted


def test_all_fields_of_a_check_are_listed() -> None:
    wanted = {field.name for field in dataclasses.fields(Check)}
    assert set(names("writing-a-check.md", "1. Requirement and judge", "field")) == wanted
