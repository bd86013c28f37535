"""Helm is told where everything of a lab is, and nothing of its user's own."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from harness import yamlio
from harness.cluster.kube import Kube
from harness.cni import catalogue, charts
from harness.cni.charts import Charts, Helm
from harness.cni.cilium import values as cilium
from harness.components.resolver import Resolved
from harness.components.store import Store
from harness.errors import BringUpError
from harness.model.labstate import LabDir
from harness.model.spec import LabSpec
from harness.runner import CommandError, Completed, HostRunner
from harness.steps.lifecycle.render import charted

SPEC, VARIANT = LabSpec(name="h-lab", cni="cilium"), catalogue.variant("cilium")
MANIFEST = "---\n# Source: empty\n---\nkind: ConfigMap\nmetadata: {name: cilium-config}\n"


class Recorder(HostRunner):
    """Remembers what it was asked to run."""

    def __init__(self, stdout: str = "") -> None:
        super().__init__()
        self.vectors: list[list[str]] = []
        self.stdout = stdout

    def run(self, argv: Any, **_: Any) -> Completed:
        self.vectors.append([str(word) for word in argv])
        return Completed(tuple(self.vectors[-1]), 0, self.stdout, "")


class Api(Kube):
    """An API with some of helm's Secrets."""

    def __init__(self, *statuses: str) -> None:
        self.statuses, self.deleted, self.labels = statuses, list[str](), ""
        self.applied: list[str] = []

    def apply(self, objects: Any) -> Any:
        self.applied += [item["metadata"]["name"] for item in objects]

    def list(self, api_version: str, kind: str, namespace: str = "", labels: str = "", fields: str = "") -> Any:
        del api_version, kind, namespace, fields
        self.labels = labels
        return [{"metadata": {"name": one, "labels": {"status": one}}} for one in self.statuses]

    def delete(self, objects: Any, *, wait: bool = True, grace: int = 0) -> None:
        del wait, grace
        self.deleted += [item["metadata"]["name"] for item in objects]


@pytest.fixture
def place(tmp_path: Path) -> LabDir:
    kinds = tmp_path / "labs/h-lab/helm/kinds/cilium/v2"
    kinds.mkdir(parents=True)
    for name in cilium.RELEASE.kinds:
        (kinds / f"{name}.yaml").write_text(f"---\nmetadata: {{name: {name}.cilium.io}}\n", encoding="utf-8")
    return LabDir(tmp_path, "h-lab")


def test_an_installation_names_the_labs_own_api_chart_and_values(place: LabDir) -> None:
    runner, api = Recorder(), Api()
    Charts(place, runner).install(cilium.RELEASE, SPEC, VARIANT, api)
    ((*words,),) = runner.vectors
    folder = place.path / "helm"
    assert words[words.index("upgrade") :] == [
        "upgrade", "--install", "--take-ownership", "--hide-notes", "--values", f"{folder}/cilium-values.yaml",
        "--set", "operator.skipCRDCreation=true",
        "cilium", f"{folder}/charts/cilium", "--kubeconfig", str(place.client_kubeconfig), "--namespace", "kube-system",
    ]  # fmt: skip
    assert str(folder / "bin/helm") in words
    values = (folder / "cilium-values.yaml").read_text(encoding="utf-8")
    assert yamlio.loads(values) == cilium.values(SPEC, VARIANT)
    assert api.applied == [f"{name}.cilium.io" for name in cilium.RELEASE.kinds]


def test_a_kind_that_the_component_does_not_bring_is_named(place: LabDir) -> None:
    (place.path / "helm/kinds/cilium/v2/ciliumnodes.yaml").unlink()
    with pytest.raises(BringUpError, match="'cilium' does not contain ciliumnodes"):
        Charts(place, Recorder()).install(cilium.RELEASE, SPEC, VARIANT, Api())


def test_what_a_user_tells_helm_does_not_reach_a_lab(tmp_path: Path) -> None:
    runner = Recorder()
    environ = {"HELM_DRIVER": "memory", "HELM_KUBECONTEXT": "production", "HOME": "/root"}
    Helm(tmp_path / "bin/helm", tmp_path, runner, environ).run(("list",))
    (words,) = runner.vectors
    assert words[:3] == ["env", "--unset=HELM_DRIVER", "--unset=HELM_KUBECONTEXT"]
    own = [word for word in words if "=" in word and not word.startswith("--unset")]
    assert {word.partition("=")[0] for word in own} == {
        "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "KUBECACHEDIR",
    }  # fmt: skip
    assert all(word.partition("=")[2].startswith(f"{tmp_path}/") for word in own)


def test_a_refusal_is_helms_and_not_that_of_the_program_that_starts_it(tmp_path: Path) -> None:
    class Refuses(Recorder):
        def run(self, argv: Any, **_: Any) -> Completed:
            return Completed(
                tuple(map(str, argv)), 1, "", "Error: values don't meet the specifications of the schema\n"
            )

    with pytest.raises(CommandError, match="helm upgrade failed with exit status 1") as caught:
        Helm(tmp_path / "helm", tmp_path, Refuses(), {}).run(("upgrade",))
    assert "values don't meet" in caught.value.cause


def test_an_installation_goes_on_where_one_was_killed(place: LabDir) -> None:
    """Helm itself says: another operation (install/upgrade/rollback) is in progress."""
    api = Api("superseded", "deployed", "pending-upgrade", "pending-install")
    Charts(place, Recorder()).install(cilium.RELEASE, SPEC, VARIANT, api)
    assert api.deleted == ["pending-upgrade", "pending-install"]
    assert api.labels == "owner=helm,name=cilium"


def test_objects_of_a_release_are_known_without_its_cluster(place: LabDir) -> None:
    runner = Recorder(MANIFEST)
    found = Charts(place, runner).objects(cilium.RELEASE, SPEC, VARIANT)
    assert found == [{"kind": "ConfigMap", "metadata": {"name": "cilium-config"}}]
    assert "template" in runner.vectors[0]
    assert "--kubeconfig" not in runner.vectors[0]


def test_a_chart_is_unpacked_in_place_of_an_older_one(monkeypatch: pytest.MonkeyPatch, place: LabDir) -> None:
    made = place.path / "component"
    made.mkdir()
    for archive in ("chart.tar", "crds.tar"):
        with tarfile.open(made / archive, "w") as tar:
            info = tarfile.TarInfo("templates/one.yaml")
            info.size = 3
            tar.addfile(info, io.BytesIO(b"a: "))
    (made / "helm").write_bytes(b"\x7fELF")
    store = Store(place.path / "cache", ("cache",))
    cilium_component = Resolved("cilium", "1", "build", made, "", made, ("chart.tar",))
    monkeypatch.setattr(Store, "ensure", lambda _, names: dict.fromkeys(names, cilium_component))
    monkeypatch.setattr(Store, "program", lambda _, name: made / name)
    lab = Charts(place)
    stale = lab.chart(cilium.RELEASE) / "templates/old.yaml"
    stale.parent.mkdir(parents=True)
    stale.touch()
    for _ in range(2):
        lab.deliver(store, cilium.RELEASE)
    assert [path.name for path in lab.chart(cilium.RELEASE).rglob("*.yaml")] == ["one.yaml"]
    assert [path.name for path in lab.kinds(cilium.RELEASE).rglob("*.yaml")] == ["one.yaml"]
    assert lab.program.read_bytes() == b"\x7fELF"


def test_render_shows_what_helm_makes_of_the_values_where_helm_is_at_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "chart.tar", "w"):
        pass
    component = Resolved("cilium", "1", "build", tmp_path, "", tmp_path, ("chart.tar",))
    monkeypatch.setattr(Store, "ensure", lambda _, names: dict.fromkeys(names, component))
    monkeypatch.setattr(Store, "program", lambda _, name: tmp_path / name)
    store, runner = Store(tmp_path / "cache", ("cache",)), Recorder(MANIFEST)
    monkeypatch.setattr(Store, "cached", lambda _, name: None if name == "helm" else component)
    assert charted(store, SPEC, VARIANT, runner) == {}
    monkeypatch.setattr(Store, "cached", lambda *_: component)
    files = charted(store, SPEC, VARIANT, runner)
    assert yamlio.loads(files["helm/cilium.yaml"])["metadata"]["name"] == "cilium-config"
    assert charted(store, LabSpec(), catalogue.variant("flannel"), runner) == {}
    (words,) = runner.vectors
    assert words[words.index("--kube-version") + 1] == SPEC.kubernetes.version


def test_records_of_a_release_are_found_by_helms_own_labels() -> None:
    assert len(charts.records(Api("deployed"), cilium.RELEASE)) == 1
