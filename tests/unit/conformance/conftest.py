"""Settings of property tests: a busy machine is slow, not broken."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
