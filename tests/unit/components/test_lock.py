from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from harness import resources
from harness.components.kubernetes import minor_of, versions, with_kubernetes
from harness.components.lock import Lock, load, programs
from harness.errors import SpecError, UsageError
from harness.model.spec import LabSpec


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


@pytest.mark.parametrize(
    ("name", "requirement"),
    [
        ("kubernetes", "k8s.io/kubernetes"),
        ("kubeadm", "k8s.io/kubernetes"),
        ("etcd", "go.etcd.io/etcd/server/v3"),
        ("etcd-kubeadm", "go.etcd.io/etcd/server/v3"),
        ("containerd", "github.com/containerd/containerd/v2"),
        ("runc", "github.com/opencontainers/runc"),
        ("crictl", "sigs.k8s.io/cri-tools"),
        ("flannel", "github.com/flannel-io/flannel"),
        ("coredns", "github.com/coredns/coredns"),
        ("cni-plugins", "github.com/containernetworking/plugins"),
        ("cni-flannel", "github.com/containernetworking/plugins"),
        ("kind", "sigs.k8s.io/kind"),
        ("kind-base", "sigs.k8s.io/kind"),
    ],
)
def test_pinned_versions_agree_with_go_mod(lock: Lock, name: str, requirement: str) -> None:
    for minor in versions(lock):
        component = with_kubernetes(lock, minor).component[name]
        assert component.build is not None
        version = component.fill("{version}", component.build.version)
        modfile = resources.root() / "components" / component.build.module / component.build.modfile
        required = re.search(rf"^(?:require|\t)\s*{requirement} v(\S+)", modfile.read_text(), re.MULTILINE)
        assert required, modfile
        assert required[1] == version, modfile
        assert modfile.with_suffix(".sum").is_file()


def test_every_pinned_minor_of_kubernetes_is_pinned_for_all_that_depends_on_it(lock: Lock) -> None:
    minors = {name: set(component.minors) for name, component in lock.component.items() if component.minors}
    assert set(minors) == {"kubernetes", "kubeadm", "etcd-kubeadm"}
    assert len(set(map(frozenset, minors.values()))) == 1


def test_the_default_of_a_spec_is_the_default_of_the_lock(lock: Lock) -> None:
    assert LabSpec().kubernetes.version == minor_of(lock.component["kubernetes"].version)


def test_a_component_is_found_by_the_name_of_its_program(lock: Lock) -> None:
    assert lock.find("kubelet").name == "kubernetes"
    assert lock.find("containerd-shim-runc-v2").name == "containerd"


def test_an_unknown_name_is_answered_with_the_known_ones(lock: Lock) -> None:
    with pytest.raises(UsageError, match="no component is named 'kubelett'") as caught:
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


EDIT = {"module": "example.test/m", "file": "m.go", "find": "a", "replace": "b"}


def lock_of(**more: object) -> Lock:
    table = {"summary": "a test", "version": "1.0", "kind": "image", **more}
    return Lock.model_validate({"schema": 1, "component": {"thing": table}})


def built(*edits: str, **more: object) -> dict[str, object]:
    return {
        "module": "m",
        "target": ".",
        "files": {"m": "m"},
        "edits": [{**EDIT, "name": name} for name in edits],
        **more,
    }


def test_a_tag_names_what_is_changed_in_a_program() -> None:
    assert lock_of(build=built()).component["thing"].tag == "v1.0"
    thing = lock_of(build=built("no-modules", "no-modules", "other")).component["thing"]
    assert (thing.edits, thing.tag) == (("no-modules", "other"), "v1.0-cnilab.no-modules.other")


def test_all_tags_are_such_as_registries_accept(lock: Lock) -> None:
    for component in lock.component.values():
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", component.tag)


RELEASE = {"artefacts": [{"url": "https://x.test/m", "checksum": "https://x.test/s", "files": {"m": ""}}]}


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        ({"build": built("no-modules"), "release": RELEASE}, "a source that knows nothing of them"),
        ({"build": built(version="0.9"), "release": RELEASE}, "a source of another version"),
        ({"release": {**RELEASE, "version": "0.9"}}, "a source of another version"),
    ],
)
def test_a_tag_cannot_say_what_is_not_in_the_image(sources: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        lock_of(**sources)


def test_the_readme_names_all_edits(lock: Lock) -> None:
    text = (resources.root() / "README.md").read_text()
    assert {
        edit for component in lock.component.values() for edit in component.edits if f"`{edit}`" not in text
    } == set()
