"""The user's cache, in which most components are already."""

from __future__ import annotations

import os
from pathlib import Path

from harness.cli.context import default_cache
from harness.components.store import Store


def cache() -> Path:
    """Where it is, as the command line finds it."""
    return Path(os.environ.get("CNILAB_CACHE") or default_cache()).absolute()


def store() -> Store:
    """A store with it."""
    return Store(cache())
