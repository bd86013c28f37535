"""What the test modules need: the requirements of an area as pytest parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from conformance.model import Check
from conformance.registry import AREAS
from harness.model.requirement import Area

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet


class Assess(Protocol):
    """The fixture `assess`: judges a requirement on the run, keeps the result, and passes, fails or skips the test."""

    def __call__(self, check: Check) -> None:
        """Judge one requirement."""
        ...


def requirements(area: Area) -> list[ParameterSet]:
    """The requirements of an area, one test each, marked with their id."""
    return [pytest.param(check, id=check.id, marks=pytest.mark.requirement(check.id)) for check in AREAS[area]]
