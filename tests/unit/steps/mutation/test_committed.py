"""The committed table: its page is made from its data, and its data is about checks and faults that there are."""

from __future__ import annotations

from pathlib import Path

from conformance.registry import CHECKS
from harness.faults.catalogue import faults
from harness.faults.model import split_target
from harness.model.mutation import MutationTable
from harness.steps.mutation.page import page

DOCS = Path(__file__).parents[4] / "docs"


def table() -> MutationTable:
    return MutationTable.model_validate_json((DOCS / "mutation.json").read_bytes())


def test_the_page_is_up_to_date() -> None:
    hint = "python -m harness.steps.mutation.page > docs/mutation.md"
    assert (DOCS / "mutation.md").read_text(encoding="utf-8") == page(table(), faults()), hint


def test_it_is_about_what_there_is() -> None:
    known = {fault.id for fault in faults()}
    for column in table().columns:
        assert {cell.fault for cell in column.cells} <= known
        targets = [one for cell in column.cells for one in (*cell.killed_by, *cell.survived, *cell.imprecise)]
        assert {split_target(one)[0] for one in targets} <= set(CHECKS)
        assert set(column.checks) <= set(CHECKS)
