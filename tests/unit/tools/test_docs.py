"""Documents say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conformance.registry import CHECKS
from harness.cli.app import COMMANDS
from harness.cni import catalogue
from harness.model import labfile
from tests.unit.tools.pages import FENCE, blocks

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"


def documents() -> list[Path]:
    return [*(ROOT / place / "README.md" for place in (".", "labs", "workshop")), *sorted(DOCS.glob("*.md"))]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code(path: Path) -> str:
    """Blocks and spans of code of a page."""
    return "\n".join([*(block.text for block in blocks(path)), *re.findall(r"`[^`]+`", prose(path))])


@pytest.mark.parametrize("path", documents(), ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    broken = []
    for target in targets:
        if "://" in target:
            continue
        place, _, anchor = target.partition("#")
        page = path.parent / place if place else path
        if not page.exists() or (anchor and anchor not in anchors(page)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("path", documents(), ids=name)
def test_commands_in_documents_exist(path: Path) -> None:
    words = set(re.findall(r"(?:^|[`$(\s])cnilab (?:-[-\w]+(?: \d+| \S+=\S+)? )*([a-z]+)", code(path), re.MULTILINE))
    assert sorted(words - set(COMMANDS)) == []


def test_the_readme_fits_three_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_every_page_is_linked_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [page.name for page in DOCS.glob("*.md") if f"(docs/{page.name})" not in text] == []


def test_the_readme_names_all_variants() -> None:
    text = (ROOT / "README.md").read_text()
    for variant in catalogue.names():
        assert f"`{variant}`" in text


def test_the_readme_counts_no_more_than_there_is_and_not_much_less() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    there = {"labs": len(labfile.read_all()), "requirements": len(CHECKS)}
    said = {what: int(count) for count, what in re.findall(r"(\d+) (labs|requirements)\b", text.replace("](", "] ("))}
    assert said.keys() == there.keys()
    assert all(0 <= there[what] - said[what] < 10 for what in there), (said, there)
