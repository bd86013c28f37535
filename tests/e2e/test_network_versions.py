"""Versions of networks that are not pinned, in real labs: their projects' images, pulled from a registry or brought.

The projects' own registries cannot be reached from everywhere: one on this machine's loopback stands in for them. The
chart and the manifest, and with them the images' names and what agents are told, are really those of the other version.
The programs in the images are not: they are the pinned ones, which are built here, under the other version's names.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.components import given
from tests.e2e import registry, stores
from tests.e2e.conftest import Cli
from tests.e2e.test_cluster import kubectl
from tests.e2e.verdicts import red

FLANNEL = "0.27.4"
FLANNEL_IMAGES = {
    "flannel": f"ghcr.io/flannel-io/flannel:v{FLANNEL}",
    "flannel-cni-plugin": "ghcr.io/flannel-io/flannel-cni-plugin:v1.8.0-flannel1",
}
CILIUM = "1.19.4"
CILIUM_IMAGES = {
    "cilium": f"quay.io/cilium/cilium:v{CILIUM}",
    "cilium-operator": f"quay.io/cilium/operator-generic:v{CILIUM}",
}
long = pytest.mark.skipif(not os.environ.get("CNILAB_VERSION_TESTS"), reason="takes long: tox -e versions")

SHARED = ("bin", "cni", "components", "images", "libraries")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, warm: Cli) -> Iterator[str]:
    """A registry that has nothing."""
    del warm
    with registry.running(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def cache() -> Iterator[Path]:
    """A cache with the user's components, and without images that are not what their names say."""
    real = stores.cache()
    place = Path(tempfile.mkdtemp(prefix="cnilab-e2e-", dir=real.parent))
    for name in SHARED:
        (place / name).symlink_to(real / name)
    yield place
    shutil.rmtree(place)


def pushed(url: str, names: dict[str, str], folder: Path) -> dict[str, str]:
    """Digests of images that are now in the registry, by their full names."""
    store = stores.store()
    return {
        reference: registry.push(url, reference, registry.made(store, name, reference, folder))
        for name, reference in names.items()
    }


@long
def test_flannel_of_another_version_is_pulled_through_a_mirror(
    cli: Cli, untouched: list[str], url: str, cache: Path, tmp_path: Path
) -> None:
    name, run = untouched[0], tmp_path / "run"
    digests = pushed(url, FLANNEL_IMAGES, tmp_path)
    mirror = ("--cache", cache, "--registry-mirror", f"ghcr.io={url}")
    cli(*mirror, "up", "flannel", "--cni-version", FLANNEL, "--name", name, "--run-dir", run)
    lab = cli, name
    pods = json.loads(kubectl(lab, "-n", "kube-flannel", "get", "pods", "-o", "json"))["items"]
    used = {status["image"] for pod in pods for status in pod["status"]["containerStatuses"]}
    assert used == {FLANNEL_IMAGES["flannel"]}
    arguments = {tuple(pod["spec"]["containers"][0]["args"]) for pod in pods}
    assert arguments == {("--ip-masq", "--kube-subnet-mgr", "--iface=eth0")}, "as that version's manifest has them"

    info = json.loads((run / "run.json").read_text())
    pins = {pin["name"]: pin for pin in info["pins"]}
    assert {one: pins[one]["digest"] for one in digests} == digests
    assert {pins[one]["source"] for one in digests} == {"pulled"}
    assert (pins["flannel"]["version"], pins["flannel"]["source"]) == (FLANNEL, "module")
    assert f"--cni-version {FLANNEL}" in info["reproduce"]
    known = json.loads(cli("--cache", cache, "version", "-o", "json").stdout)["pulled"]
    assert {one["reference"]: (one["digest"], one["origin"]) for one in known} == {
        reference: (digest, url) for reference, digest in digests.items()
    }

    assert red(cli.data("test", "--cluster", name, code=None)["items"]) == {}
    cli("report", "--cluster", name)
    assert f"flannel {FLANNEL} (not the pinned version) on Kubernetes" in (run / "report.html").read_text()

    # The same nodes with the pinned version, and nothing of the other one is left.
    done = cli.data("--cache", cache, "switch", "flannel", "--cluster", name)
    assert [one["left"] for one in done["items"]] == [[] for _ in done["items"]]
    pods = json.loads(kubectl(lab, "-n", "kube-flannel", "get", "pods", "-o", "json"))["items"]
    assert {FLANNEL_IMAGES["flannel"]}.isdisjoint(pod["spec"]["containers"][0]["image"] for pod in pods)


@pytest.mark.night
def test_an_image_that_cannot_be_pulled_can_be_brought(cli: Cli, url: str, cache: Path, tmp_path: Path) -> None:
    words = ("up", "flannel", "--cni-version", "0.28.4", "--name", "e2e-none")
    refused = cli("--cache", cache, "--registry-mirror", f"ghcr.io={url}", *words, code=10)
    wanted = "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel1"
    assert "not found" in refused.stderr
    assert f"where: {url}" in refused.stderr
    assert "docker save ghcr.io/flannel-io/" in refused.stderr
    assert cli.labs() == {}

    archive = registry.made(stores.store(), "flannel-cni-plugin", wanted, tmp_path)
    assert cli("--cache", cache, "components", "add", archive).stdout == f"image/{wanted}\n"
    items = cli.data("--cache", cache, *words, "--dry-run")["items"]
    sources = {one["name"]: one["source"] for one in items if one["what"] == "image"}
    assert (sources[wanted], sources["ghcr.io/flannel-io/flannel:v0.28.4"]) == ("brought", "pulled")
    assert given.references(archive) == {wanted}


@long
def test_cilium_of_another_version_by_its_own_chart(
    cli: Cli, untouched: list[str], url: str, cache: Path, tmp_path: Path
) -> None:
    name, run = untouched[0], tmp_path / "run"
    digests = pushed(url, CILIUM_IMAGES, tmp_path)
    mirror = ("--cache", cache, "--registry-mirror", f"quay.io={url}")
    cli(*mirror, "up", "cilium", "--cni-version", CILIUM, "--name", name, "--run-dir", run)
    lab = cli, name
    pods = json.loads(kubectl(lab, "-n", "kube-system", "get", "pods", "-l", "k8s-app=cilium", "-o", "json"))["items"]
    images = {one["image"] for pod in pods for one in (*pod["spec"]["initContainers"], *pod["spec"]["containers"])}
    assert images == {CILIUM_IMAGES["cilium"]}
    pins = {pin["name"]: pin for pin in json.loads((run / "run.json").read_text())["pins"]}
    assert {one: pins[one]["digest"] for one in digests} == digests
    assert (pins["cilium"]["version"], pins["cilium"]["source"]) == (CILIUM, "module")
    assert red(cli.data("test", "--cluster", name, code=None)["items"]) == {}
