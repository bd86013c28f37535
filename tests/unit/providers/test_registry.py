"""A lab's own state says whose it is, and whatever it says, the lab can be removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.model import labstate
from harness.model.labstate import LabDir, LabState
from harness.model.spec import PROVIDERS, LabSpec
from harness.providers import registry
from harness.providers.namespaces.state import NamespacesState
from harness.providers.protocol import Driver


def known(place: LabDir, **changes: object) -> None:
    state = NamespacesState(name=place.name, created="2026-01-01T00:00:00Z", spec=LabSpec(name=place.name))
    labstate.write(place, state.model_copy(update=changes))


def test_a_provider_that_this_version_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(UsageError, match="the provider 'marbles' does not exist yet") as caught:
        registry.driver("marbles")
    assert "namespaces" in caught.value.next_step


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_driver_can_look_for_a_lab_that_is_not_there(name: str, tmp_path: Path) -> None:
    place, driver = LabDir(tmp_path, "ghost"), registry.driver(name)
    assert issubclass(driver.model, LabState)
    assert driver.delete(place) == []
    assert driver.machines(place) == []
    assert driver.living(place) == []
    assert list(driver.logs(place)) == []
    assert driver.exits(place) == []
    with pytest.raises(UsageError, match="there is no cluster named 'ghost'"):
        driver.find(place)


def test_the_common_part_is_read_without_the_provider_and_the_rest_is_kept(tmp_path: Path) -> None:
    place = LabDir(tmp_path, "one")
    known(place, raised={"a/b": 3})
    assert labstate.read(place, LabState) == LabState(
        name="one", created="2026-01-01T00:00:00Z", spec=LabSpec(name="one")
    )
    registry.mark_ready(place, own={})
    state = registry.known_state(place)
    assert isinstance(state, NamespacesState)
    assert state.ready
    assert state.raised == {"a/b": 3}


def test_a_lab_without_a_readable_state_can_be_removed(tmp_path: Path) -> None:
    place = LabDir(tmp_path, "torn")
    place.path.mkdir(parents=True)
    place.state_file.write_text("{")
    assert registry.delete(place) == []
    assert not place.path.exists()


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_driver_has_all_that_is_asked_of_one(name: str) -> None:
    wanted = {word for word in vars(Driver) if not word.startswith("_")}
    assert {word for word in wanted if not hasattr(registry.driver(name), word)} == set()
