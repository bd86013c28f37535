"""What a network does while it is disturbed, and what it leaves behind."""

from __future__ import annotations

import pytest

from conformance.model import Check
from conformance.suite import Assess, requirements


@pytest.mark.parametrize("check", requirements("robust"))
def test_robust(check: Check, assess: Assess) -> None:
    """The requirement holds in the run."""
    assess(check)
