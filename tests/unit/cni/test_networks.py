"""A version of a network that is not pinned: what installs it, and which images that names."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import yamlio
from harness.cli.context import default_cache
from harness.cni import catalogue, charts, networks
from harness.cni.cilium import values
from harness.cni.flannel import manifests
from harness.components import network
from harness.components.lock import load
from harness.components.resolver import Resolved
from harness.components.store import Store
from harness.errors import BringUpError
from harness.model.journal import Journal
from harness.model.labstate import LabDir
from harness.model.records import Event
from harness.model.spec import LabSpec
from harness.providers import needs
from harness.runner import CommandError, Completed
from harness.steps.lifecycle import render

# As short as can be, and of no project: names are what this program looks for.
MANIFEST = """\
---
apiVersion: v1
kind: Namespace
metadata: {name: kube-flannel}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-flannel-cfg, namespace: kube-flannel}
data: {cni-conf.json: "{}", net-conf.json: "{}", other: stays}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-flannel-ds, namespace: kube-flannel}
spec:
  template:
    spec:
      hostNetwork: true
      initContainers:
      - {name: plugin, image: "ghcr.io/x/plugin:v1", command: [cp]}
      containers:
      - {name: kube-flannel, image: "ghcr.io/x/flannel:v0.27.4", args: [--ip-masq], env: [{name: A, value: b}]}
"""
DEFAULTS = """\
image: {repository: quay.io/cilium/cilium, tag: v1.19.4, useDigest: false}
operator: {image: {repository: quay.io/cilium/operator, tag: v1.19.4, suffix: ""}, replicas: 2}
extraConfig: {}
bpf: {masquerade: null, autoMount: {enabled: true}}
"""
FLANNEL, CILIUM, WEAVE = (catalogue.variant(name) for name in ("flannel", "cilium", "weave"))


def spec(cni: str, version: str, **rest: Any) -> LabSpec:
    return LabSpec.model_validate({"cni": cni, "cniVersion": version, **rest})


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def store(tmp_path: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that has a manifest and a chart of other versions."""
    made = tmp_path / "component"
    made.mkdir()
    for archive, name, text in (("manifest.tar", manifests.MANIFEST, MANIFEST), ("chart.tar", "values.yaml", DEFAULTS)):
        with tarfile.open(made / archive, "w") as tar:
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    (made / "helm").write_text("")
    there = Store(tmp_path / "cache", journal=Journal(None, events.append))
    found = Resolved("x", "1", "build", made / "helm", "0", made, ())
    monkeypatch.setattr(there, "ensure", lambda names: dict.fromkeys(names, found))
    monkeypatch.setattr(there, "program", lambda _: made / "helm")
    return there


def test_a_projects_manifest_is_told_the_lab_and_nothing_else(store: Store, golden: Callable[[str, str], None]) -> None:
    wanted = spec("flannel", "0.27.4", pods={"cidr": "10.50.0.0/16"}, underlay={"dualHomed": True})
    golden("cni/flannel-another-version.yaml", yamlio.dumps_all(networks.objects_of(store, wanted, FLANNEL)))
    backend = catalogue.variant("flannel-host-gw")
    (config,) = (one for one in networks.objects_of(store, wanted, backend) if one["kind"] == "ConfigMap")
    assert '"host-gw"' in config["data"]["net-conf.json"]


@pytest.mark.parametrize(
    ("away", "said"),
    [("kind: ConfigMap", "no ConfigMap kube-flannel-cfg"), ("name: kube-flannel,", "no container kube-flannel")],
)
def test_a_manifest_of_another_shape_is_refused(away: str, said: str) -> None:
    objects = yamlio.loads_all(MANIFEST.replace(away, away.replace("kube-flannel", "other").replace("Map", "Mop")))
    with pytest.raises(BringUpError, match=said):
        manifests.adapted(objects, spec("flannel", "0.1.0"), FLANNEL)


def test_images_are_those_that_the_manifest_or_the_chart_names(store: Store) -> None:
    assert networks.references(store, spec("flannel", "0.27.4"), FLANNEL) == [
        "ghcr.io/x/plugin:v1", "ghcr.io/x/flannel:v0.27.4",
    ]  # fmt: skip
    assert networks.references(store, spec("cilium", "1.19.4"), CILIUM) == [
        "quay.io/cilium/cilium:v1.19.4", "quay.io/cilium/operator-generic:v1.19.4",
    ]  # fmt: skip
    assert networks.references(store, spec("weave", "2.8.1"), WEAVE) == [
        "docker.io/rajchaudhuri/weave-kube:2.8.1", "docker.io/rajchaudhuri/weave-npc:2.8.1",
    ]  # fmt: skip


def test_a_lab_takes_these_images_and_builds_nothing_of_the_network(tmp_path: Path) -> None:
    wanted = spec("cilium", "1.19.4")
    store = Store(tmp_path, lock=network.with_images(needs.lock_for(wanted), ["quay.io/cilium/cilium:v1.19.4"]))
    found = needs.needs(wanted, store)
    assert found.images == (*needs.IMAGES, "cilium")
    assert {"helm", "cilium"} <= set(found.components)
    assert store.lock.component["cilium"].build is None
    assert needs.lock_for(spec("cilium", "")).component == load().component


def test_a_charts_kinds_are_left_to_its_own_operator_where_they_are_not_known() -> None:
    assert networks.chart(spec("cilium", ""), CILIUM) is values.RELEASE
    other = networks.chart(spec("cilium", "1.19.4"), CILIUM)
    assert other is not None
    assert (other.kinds, other.instead, other.name) == ((), (), "cilium")


def test_the_manifest_is_the_labs_own_and_what_was_installed_is_known_by_it(store: Store, tmp_path: Path) -> None:
    place, wanted = LabDir(tmp_path, "v-lab"), spec("flannel", "0.27.4")
    networks.deliver(store, place, wanted, FLANNEL)
    assert networks.objects(place, wanted, FLANNEL) == networks.objects_of(store, wanted, FLANNEL)
    assert networks.objects(place, spec("flannel", ""), FLANNEL) == manifests.manifests(spec("flannel", ""), FLANNEL)


def test_values_that_another_chart_does_not_know_are_told(store: Store, events: list[Event], tmp_path: Path) -> None:
    networks.deliver(store, LabDir(tmp_path, "v-lab"), spec("cilium", "1.19.4"), CILIUM)
    (said,) = (event.title for event in events if "does not know" in event.title)
    assert said.startswith("the chart of cilium 1.19.4 does not know: ")
    names = said.partition("know: ")[2].split(", ")
    assert {"bpf.ctAnyMax", "hubble"} <= set(names)
    assert not {"bpf.masquerade", "extraConfig.identity-max-jitter", "image.useDigest"} & set(names)


def test_the_pinned_chart_knows_all_values_of_all_variants() -> None:
    store = Store(Path(os.environ.get("CNILAB_CACHE") or default_cache()))
    if store.cached("cilium") is None:
        pytest.skip("the chart is not in the cache")
    names = [one for one in catalogue.names() if catalogue.variant(one).driver == "cilium"]
    odd = {name: networks.unknown(store, LabSpec(cni=name), catalogue.variant(name)) for name in names}
    assert {name: found for name, found in odd.items() if found} == {}
    assert names


def test_a_refusal_of_helm_says_that_the_values_are_for_another_version() -> None:
    wanted = spec("cilium", "1.15.19")

    def refuse() -> None:
        msg = "helm template failed with exit status 1"
        raise CommandError(msg, Completed(("helm",), 1, "", "Error: values don't meet the specifications\n"))

    with (
        pytest.raises(CommandError) as caught,
        charts.told_of_version(wanted, CILIUM, values.RELEASE),
    ):
        refuse()
    assert "values don't meet" in caught.value.cause
    assert "chart of cilium 1.15.19" in caught.value.next_step
    with pytest.raises(CommandError) as caught, charts.told_of_version(LabSpec(cni="cilium"), CILIUM, values.RELEASE):
        refuse()
    assert caught.value.next_step == ""


def test_render_shows_the_manifest_of_the_version(store: Store) -> None:
    wanted = spec("flannel", "0.27.4")
    assert "manifests/flannel.yaml" not in render.render(wanted, FLANNEL)
    files = render.charted(store, wanted, FLANNEL)
    assert yamlio.loads_all(files["manifests/flannel.yaml"]) == networks.objects_of(store, wanted, FLANNEL)
    assert render.render(spec("weave", "2.8.1"), WEAVE)["manifests/weave.yaml"].count("weave-kube:2.8.1") == 2
