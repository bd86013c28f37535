from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from harness import resources
from harness.components.lock import Lock, load, programs, with_kubernetes
from harness.errors import SpecError, UsageError


@pytest.fixture(scope="module")
def lock() -> Lock:
    return load()


def test_every_component_of_the_project_has_a_way_without_a_registry_of_releases(lock: Lock) -> None:
    closed = {name for name, component in lock.component.items() if component.build or component.package}
    assert closed == set(lock.component)


def test_every_build_has_its_module_in_the_checkout(lock: Lock) -> None:
    for component in lock.component.values():
        if component.build:
            assert (resources.root() / "components" / component.build.module / "go.mod").is_file()


def test_the_pinned_kubernetes_is_the_one_that_go_mod_requires(lock: Lock) -> None:
    go_mod = (resources.root() / "components/kubernetes/go.mod").read_text()
    assert f"\tk8s.io/kubernetes v{lock.component['kubernetes'].version}\n" in go_mod


@pytest.mark.parametrize(
    ("name", "module", "requirement"),
    [
        ("flannel", "flannel", "github.com/flannel-io/flannel"),
        ("coredns", "coredns", "github.com/coredns/coredns"),
        ("cni-plugins", "cni-plugins", "github.com/containernetworking/plugins"),
        ("cni-flannel", "cni-flannel", "github.com/containernetworking/plugins"),
    ],
)
def test_pinned_versions_agree_with_go_mod(lock: Lock, name: str, module: str, requirement: str) -> None:
    build = lock.component[name].build
    assert build is not None
    version = lock.component[name].fill("{version}", build.version)
    assert f"\t{requirement} v{version}" in (resources.root() / "components" / module / "go.mod").read_text()


def test_a_component_is_found_by_the_name_of_its_program(lock: Lock) -> None:
    assert lock.find("kubelet").name == "kubernetes"
    assert lock.find("containerd-shim-runc-v2").name == "containerd"


def test_an_unknown_name_is_answered_with_the_known_ones(lock: Lock) -> None:
    with pytest.raises(UsageError, match="no component is called 'kubelett'") as caught:
        lock.find("kubelett")
    assert "kubernetes" in caught.value.next_step


def test_no_two_components_deliver_a_program_of_the_same_name_into_one_place(lock: Lock) -> None:
    nodes = [name for component in lock.component.values() if component.kind == "bin" for name in programs(component)]
    assert len(nodes) == len(set(nodes))


def test_all_problems_of_a_lock_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "components.lock"
    path.write_text(
        """
schema = 1
[component.one]
summary = "no source"
version = "1"
kind = "bin"
[component.two]
summary = "in the clear"
version = "1"
kind = "daemon"
[component.two.release]
artefacts = [{ url = "http://example.org/x", checksum = "https://example.org/x.sha256", files = { "../x" = "" } }]
"""
    )
    with pytest.raises(SpecError) as caught:
        load(path)
    text = str(caught.value)
    for fact in ("component.one", "has no source", "component.two.kind", "https://", "component.two.release"):
        assert fact in text


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "components.lock"
    path.write_text("schema = \n")
    with pytest.raises(SpecError, match="is not valid TOML"):
        load(path)


def test_tools_of_builds_and_images_are_in_the_lock(lock: Lock) -> None:
    needed = {tool for component in lock.component.values() if component.build for tool in component.build.needs}
    assert needed <= set(lock.tool)


def test_a_placeholder_is_never_left_in_a_url(lock: Lock) -> None:
    for component in lock.component.values():
        for artefact in component.release.artefacts if component.release else ():
            for url in (artefact.url, artefact.checksum, *artefact.files.values()):
                assert "{" not in component.fill(url)


def test_the_lock_reads_as_plain_toml() -> None:
    document = tomllib.loads((resources.root() / "components.lock").read_text())
    assert document["schema"] == 1


@pytest.mark.parametrize("wanted", ["1.34", "1.34.4"])
def test_the_pinned_kubernetes_needs_no_other_lock(lock: Lock, wanted: str) -> None:
    assert with_kubernetes(lock, wanted) is lock


def test_another_kubernetes_comes_from_its_release_only(lock: Lock) -> None:
    component = with_kubernetes(lock, "1.33.1").component["kubernetes"]
    assert component.build is None
    assert component.release is not None
    assert "/v1.33.1/" in component.fill(component.release.artefacts[0].url)
    assert lock.component["kubernetes"].version == "1.34.4"


def test_a_minor_version_alone_does_not_name_another_kubernetes(lock: Lock) -> None:
    with pytest.raises(UsageError, match=r"Kubernetes 1\.33 is not pinned") as caught:
        with_kubernetes(lock, "1.33")
    assert "1.33.0" in caught.value.next_step
