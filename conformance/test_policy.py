"""NetworkPolicy: enforced as the API says, or not at all."""

from __future__ import annotations

import pytest

from conformance.model import Check
from conformance.suite import Assess, requirements


@pytest.mark.parametrize("check", requirements("policy"))
def test_policy(check: Check, assess: Assess) -> None:
    """The requirement holds in the run."""
    assess(check)
