"""Requirements are renamed; whoever names them to `--select` must hear of it: tests, documents, workflows, scripts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conformance.registry import select
from harness.errors import UsageError

ROOT = Path(__file__).parents[3]
PLACES = (
    "README.md", "tox.ini", "docs/**/*.md", "labs/**/*.md", "workshop/**/*", ".github/workflows/*.yml",
    "harness/**/*.py", "tests/**/*.py",
)  # fmt: skip

PATTERNS = (
    r"--select[= ]'([^'{}]+)'",
    r'--select[= ]"([^"{}$]+)"',
    r"--select[= ]([a-z][\w.*,-]*[\w*])",
    r'"--select", "([^"{}]+)"',
    # tests/e2e/test_kernel.py
    r'\bjudged\(\w+, "([^"]+)"\)',
)


def selections() -> list[tuple[str, str]]:
    """File and what it selects."""
    files = [path for pattern in PLACES for path in sorted(ROOT.glob(pattern)) if path.is_file()]
    return [
        (str(path.relative_to(ROOT)), found)
        for path in files
        if path != Path(__file__)
        for pattern in PATTERNS
        for found in re.findall(pattern, path.read_text(encoding="utf-8", errors="replace"))
    ]


def test_they_are_found() -> None:
    found = {path for path, _ in selections()}
    assert {
        "docs/getting-started.md",
        "workshop/setup.sh",
        "harness/cli/commands/test.py",
        "tests/e2e/test_kernel.py",
    } <= found


@pytest.mark.parametrize(("place", "words"), selections(), ids=" ".join)
def test_what_is_selected_is_there(place: str, words: str) -> None:
    assert select(words), place


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("vxlan.*", ""),
        ("model.pod-pod.cros-node", "model.pod-pod.cross-node"),
        ("servces", "services"),
        ("sv.*", "svc.*"),
    ],
)
def test_what_is_not_there_is_refused_and_the_nearest_named(word: str, near: str) -> None:
    with pytest.raises(UsageError, match="no conformance check matches") as caught:
        select(word)
    assert f"did you mean {near}" in caught.value.next_step if near else "areas: nodes" in caught.value.next_step
