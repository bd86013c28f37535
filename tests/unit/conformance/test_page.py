"""The catalogue page says what the registry has."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from conformance.page import GATES, page
from harness.model.variant import Gate

PAGE = Path(__file__).parents[3] / "docs" / "conformance.md"


def test_the_page_is_up_to_date() -> None:
    hint = "python -m conformance.page > docs/conformance.md"
    assert PAGE.read_text(encoding="utf-8") == page(), hint


def test_every_gate_is_explained() -> None:
    assert set(GATES) == set(get_args(Gate))
