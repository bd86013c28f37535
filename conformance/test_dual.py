"""Two IP families beside each other."""

from __future__ import annotations

import pytest

from conformance.model import Check
from conformance.suite import Assess, requirements


@pytest.mark.parametrize("check", requirements("dual"))
def test_dual(check: Check, assess: Assess) -> None:
    """The requirement holds in the run."""
    assess(check)
