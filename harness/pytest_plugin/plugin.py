"""Judges a run directory through pytest: one test per requirement."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the conformance suite."""
    group = parser.getgroup("cnilab", "network conformance")
    group.addoption("--cnilab-run", metavar="DIR", help="Run directory whose observations are judged")
