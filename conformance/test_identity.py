"""Who is who: addresses, namespaces, containers."""

from __future__ import annotations

import pytest

from conformance.model import Check
from conformance.suite import Assess, requirements


@pytest.mark.parametrize("check", requirements("identity"))
def test_identity(check: Check, assess: Assess) -> None:
    """The requirement holds in the run."""
    assess(check)
