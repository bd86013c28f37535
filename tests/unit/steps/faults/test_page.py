"""The reference of faults says what the code has, and the code has nothing else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from harness.faults.model import Fault, Situation
from harness.model.base import Data
from harness.model.fault import Action
from harness.model.records import FaultRun
from harness.steps.faults import names
from harness.steps.faults.page import OUTCOMES, page
from harness.steps.faults.scene import PLACES, SITUATIONS
from tests.unit.conformance import simlab

PAGE = Path(__file__).parents[4] / "docs" / "faults.md"


def test_the_page_is_up_to_date() -> None:
    hint = "python -m harness.steps.faults.page > docs/faults.md"
    assert PAGE.read_text(encoding="utf-8") == page(), hint


@pytest.mark.parametrize("model", [Fault, Action])
def test_every_key_is_explained(model: type[Data]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_every_situation_and_every_outcome_is_explained() -> None:
    assert set(SITUATIONS) == set(get_args(Situation))
    assert set(OUTCOMES) == set(get_args(FaultRun.model_fields["outcome"].annotation))


def test_every_name_has_a_value_in_a_lab_with_a_tunnel_and_a_bridge_and_no_other_name_has() -> None:
    container = SimpleNamespace(pid=4711)
    sandboxes = SimpleNamespace(find=lambda *_: SimpleNamespace(container=lambda _: container))
    suite = SimpleNamespace(inventory=simlab.inventory(), sandboxes=sandboxes)
    found = names.values(suite, simlab.context())  # type: ignore[arg-type]
    assert set(found) <= names.possible()
    assert [name.form for name in names.NAMES if not name.possible & set(found)] == []
    assert (found["N2"], found["C2"], found["a"], found["PIDa"]) == (
        "172.18.0.12",
        "10.244.1.0/24",
        "10.244.0.2",
        "4711",
    )
    assert (found["V"], found["B"], found["E"], found["PLUGIN"]) == (
        "flannel.1",
        "cni0",
        "1450",
        "/opt/cni/bin/flannel",
    )


def test_forms_are_unique() -> None:
    for forms in ([name.form for name in names.NAMES], [place.form for place in PLACES]):
        assert len(forms) == len(set(forms))
