"""Documents say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.cli.app import COMMANDS
from harness.cni import catalogue

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text())
    assert [one for one in targets if "://" not in one and not (path.parent / one).exists()] == []


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_commands_in_documents_exist(path: Path) -> None:
    words = set(re.findall(r"(?:^|[`$(\s])cnilab (?:-[-\w]+(?: \d+| \S+=\S+)? )*([a-z]+)", path.read_text()))
    prose = {"on", "is", "says", "a", "that"}
    assert sorted(words - set(COMMANDS) - prose) == []


def test_the_readme_names_all_variants() -> None:
    text = (ROOT / "README.md").read_text()
    for name in catalogue.names():
        assert f"`{name}`" in text
