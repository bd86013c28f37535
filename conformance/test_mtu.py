"""How large a packet may be."""

from __future__ import annotations

import pytest

from conformance.model import Check
from conformance.suite import Assess, requirements


@pytest.mark.parametrize("check", requirements("mtu"))
def test_mtu(check: Check, assess: Assess) -> None:
    """The requirement holds in the run."""
    assess(check)
