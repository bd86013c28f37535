"""The CNI contract of plugins."""

from __future__ import annotations

import pytest

from conformance.model import Check
from conformance.suite import Assess, requirements


@pytest.mark.parametrize("check", requirements("cni"))
def test_cni(check: Check, assess: Assess) -> None:
    """The requirement holds in the run."""
    assess(check)
