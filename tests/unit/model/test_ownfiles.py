"""A mistake in the catalogue of faults or in a variant is named with its line, and with what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.errors import SpecError
from harness.faults import catalogue
from harness.faults.model import Fault
from harness.model.ownfiles import mistakes
from harness.model.variant import Variant

GOOD = """\
- id: F01
  name: route-del
  title: a route is deleted
  needs: [multi]
  kills: [node.routes]
  inject:
    - {at: n1, run: [ip, route, del, 10.0.0.0/8]}
  undo:
    - {at: n1, run: [ip, route, add, 10.0.0.0/8, dev, eth0]}
"""


def said(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        catalogue.read(path)
    assert caught.value.what == "the catalogue of faults is wrong"
    return [str(problem).replace(str(path), "F") for problem in caught.value.problems]


def test_a_catalogue_that_is_right_is_read(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(GOOD)
    assert [fault.id for fault in catalogue.read(path)] == ["F01"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  title:", "  titel:", ["F:3:3", "F01.titel", "is not a key", "did you mean 'title'?"]),
        ("needs: [multi]", "needs: [mutli]", ["F:4:", "F01.needs.0", "'mutli'", "did you mean 'multi'?"]),
        ("{at: n1, run: [ip, route, del", "{at: n1, rn: [ip, route, del", ["F:7:", "rn", "did you mean 'run'?"]),
    ],
)
def test_a_mistake_has_its_line_and_what_was_meant(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    found = "\n".join(said(tmp_path / "catalogue.yaml", GOOD.replace(old, new)))
    assert [word for word in words if word not in found] == [], found


def test_an_id_that_two_faults_have_is_named(tmp_path: Path) -> None:
    (found,) = said(tmp_path / "catalogue.yaml", GOOD + GOOD.replace("route-del", "other"))
    assert "F01" in found
    assert "is used by two faults" in found


def test_a_variants_mistakes_have_lines(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nexpect:\n  leasDir: /x\ngates: [multi, ctrr]\n")
    with pytest.raises(ValidationError) as caught:
        Variant.model_validate({"name": "mine", "expect": {"leasDir": "/x"}, "gates": ["multi", "ctrr"]})
    found = [str(one).replace(str(path), "F") for one in mistakes(path, caught.value, Variant)]
    assert any("F:3:3" in one and "did you mean 'leaseDir'?" in one for one in found), found
    assert any("F:4:" in one and "did you mean 'ctr'?" in one for one in found), found


def test_keys_of_a_fault_are_told_whatever_is_around_them(tmp_path: Path) -> None:
    text = "\n".join(said(tmp_path / "catalogue.yaml", GOOD.replace("  title:", "  zzz:")))
    assert all(key in text for key in ("kills", "inject", "undo", "spares"))
    assert Fault.model_fields
