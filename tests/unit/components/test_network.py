"""The lock for a version of a network that is not pinned."""

from __future__ import annotations

import pytest

from harness.components import network, recipes
from harness.components.lock import load
from harness.components.store import Store
from harness.errors import UsageError

LOCK = load()
AGENT, OPERATOR = "quay.io/cilium/cilium:v1.19.4", "quay.io/cilium/operator-generic:v1.19.4"


@pytest.mark.parametrize("driver", ["cilium", "flannel"])
def test_another_version_is_folders_of_its_module_and_nothing_is_built(driver: str) -> None:
    found = network.with_network(LOCK, driver, "1.19.4").component[driver]
    assert (found.version, found.build, found.release, found.package) == ("1.19.4", None, None, None)
    assert list(found.module) == [{"cilium": "chart.tar", "flannel": "manifest.tar"}[driver]]
    assert f"the pinned version is {LOCK.component[driver].version}" in found.summary


@pytest.mark.parametrize("driver", ["cilium", "flannel"])
def test_the_pinned_version_is_the_lock_itself(driver: str) -> None:
    assert network.with_network(LOCK, driver, network.pinned(LOCK, driver)) is LOCK
    assert network.with_network(LOCK, driver, "") is LOCK


def test_weave_has_versions_and_no_module() -> None:
    assert network.pinned(LOCK, "weave") == recipes.WEAVE
    assert network.with_network(LOCK, "weave", "2.8.1") is LOCK


def test_what_has_no_images_has_no_versions() -> None:
    assert network.pinned(LOCK, "bridge") == ""
    with pytest.raises(UsageError, match="'bridge' has no version of its own"):
        network.with_network(LOCK, "bridge", "1.0.0")


def test_another_version_has_a_place_of_its_own_in_the_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store(tmp_path_factory.mktemp("cache"))
    versions = ("", "1.19.4", "1.19.3")
    keys = {store.key(network.with_network(LOCK, "cilium", one).component["cilium"]) for one in versions}
    assert len(keys) == len(versions)


def test_images_of_another_version_stand_in_for_those_that_are_built() -> None:
    found = recipes.images(network.with_images(LOCK, [AGENT, OPERATOR, AGENT]))
    ours = {image.reference: image for image in found if image.pulled}
    assert {image.name for image in ours.values()} == {"cilium", "operator-generic"}
    assert not any(image.components for image in ours.values())
    assert [image.reference for image in found if image.name == "cilium"] == [AGENT]
    assert ours[AGENT].place.startswith("cilium-")
    assert ours[AGENT].place != recipes.published([AGENT.replace("19.4", "19.3")])[0].place


def test_images_whose_short_names_are_the_same_have_others() -> None:
    first, second = recipes.published(["a.example.org/x/agent:v1", "b.example.org/y/agent:v1"])
    assert (first.name, second.name) == ("a.example.org-x-agent-v1", "b.example.org-y-agent-v1")
    # Where an archive lies does not depend on what else there is.
    assert first.place == recipes.published([first.reference])[0].place
