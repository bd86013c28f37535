"""Services from pods, nodes and outside."""

from __future__ import annotations

import pytest

from conformance.model import Check
from conformance.suite import Assess, requirements


@pytest.mark.parametrize("check", requirements("services"))
def test_services(check: Check, assess: Assess) -> None:
    """The requirement holds in the run."""
    assess(check)
