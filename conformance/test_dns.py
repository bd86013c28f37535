"""DNS as a pod sees it."""

from __future__ import annotations

import pytest

from conformance.model import Check
from conformance.suite import Assess, requirements


@pytest.mark.parametrize("check", requirements("dns"))
def test_dns(check: Check, assess: Assess) -> None:
    """The requirement holds in the run."""
    assess(check)
