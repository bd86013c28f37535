"""Does a packet get there."""

from __future__ import annotations

import pytest

from conformance.model import Check
from conformance.suite import Assess, requirements


@pytest.mark.parametrize("check", requirements("reach"))
def test_reach(check: Check, assess: Assess) -> None:
    """The requirement holds in the run."""
    assess(check)
