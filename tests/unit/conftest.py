"""Fixtures of all unit tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(autouse=True)
def _nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit tests may run as root, on a machine that lacks programs: it stays as it is."""
    monkeypatch.setenv("CNILAB_APT", "no")


@pytest.fixture(autouse=True, scope="session")
def _interrupts_are_heard() -> None:
    """A shell that runs tests in the background of a script has them ignore SIGINT, and what they start, too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare text with a file below tests/golden; CNILAB_UPDATE_GOLDEN=1 writes the file instead."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("CNILAB_UPDATE_GOLDEN"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{path} differs; CNILAB_UPDATE_GOLDEN=1 rewrites it"

    return compare
