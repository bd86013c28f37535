"""Where the project's data files are: a checkout's top level, or `harness/_data` of an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """The folder that holds `labs/`, `playbooks/`, `components/` and `components.lock`."""
    installed = _PACKAGE / "_data"
    return installed if installed.is_dir() else _PACKAGE.parent
