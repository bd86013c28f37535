"""Edited copies and packed folders of a module, with the real go and a module of files."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from harness.components.lock import Build, Component, Edit, Folder, load
from harness.components.network import with_network
from harness.components.resolver import Resolver
from harness.components.sources.base import Delivered, Desk, Refused
from harness.components.sources.modules import Modules, archived, folders_of
from harness.errors import PreflightError
from harness.runner import HostRunner

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="go is not on PATH")
DEPENDENCY = "example.org/dependency"
BUILD = Build(module="net", target=".", files={"net": "net"})


@pytest.fixture
def modules(tmp_path: Path) -> Modules:
    own, other = tmp_path / "own", tmp_path / "dependency"
    (other / "data" / "tests").mkdir(parents=True)
    own.mkdir()
    (other / "go.mod").write_text(f"module {DEPENDENCY}\n\ngo 1.21\n")
    (other / "code.go").write_text('package dependency\n\nconst Path = "/proc/modules"\n')
    (other / "data" / "a.c").write_text("int a;\n")
    (other / "data" / "tests" / "b.c").write_text("int b;\n")
    (own / "go.mod").write_text(
        f"module example.org/own\n\ngo 1.21\n\nreplace {DEPENDENCY} => {other}\n\nrequire {DEPENDENCY} v0.0.0\n"
    )
    (own / "go.sum").write_text("")
    return Modules(HostRunner(), own / "go.mod", {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOWORK": "off"})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    for name in ("files", "desk"):
        (tmp_path / name).mkdir()
    return Desk(tmp_path / "files", tmp_path / "desk", HostRunner(), lambda _: None)


def edit(find: str) -> Edit:
    return Edit(name="quiet", module=DEPENDENCY, file="code.go", find=find, replace='"/dev/null"')


def test_an_edit_changes_one_place_of_a_copy_and_the_build_takes_that(modules: Modules, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    modfile = modules.edited((edit('"/proc/modules"'),), scratch)
    assert f"replace {DEPENDENCY} => {scratch}/modules/{DEPENDENCY}" in modfile.read_text()
    assert 'const Path = "/dev/null"' in (scratch / "modules" / DEPENDENCY / "code.go").read_text()
    assert '"/proc/modules"' in (tmp_path / "dependency" / "code.go").read_text()


def test_an_edit_that_fits_nowhere_is_an_error(modules: Modules, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(PreflightError, match="is not the version for which the edit in the lock was made") as caught:
        modules.edited((edit('"/sys/module"'),), scratch)
    assert "0 times" in str(caught.value)


def test_a_folder_is_packed_in_order_without_what_is_left_out(modules: Modules, tmp_path: Path) -> None:
    modules.pack(Folder(module=DEPENDENCY, path="data", without=("tests",)), tmp_path / "data.tar")
    with tarfile.open(tmp_path / "data.tar") as tar:
        assert [(info.name, info.mtime) for info in tar] == [("a.c", 0)]


@pytest.fixture
def proxy(tmp_path: Path) -> dict[str, str]:
    """Variables that lead go to a proxy of files, which has version 1.2.3 of one module."""
    served = tmp_path / "proxy" / DEPENDENCY / "@v"
    served.mkdir(parents=True)
    (served / "v1.2.3.info").write_text('{"Version": "v1.2.3"}')
    (served / "v1.2.3.mod").write_text(f"module {DEPENDENCY}\n")
    with zipfile.ZipFile(served / "v1.2.3.zip", "w") as archive:
        for name in ("go.mod", "chart/Chart.yaml", "chart/values.yaml", "chart/notes.md"):
            archive.writestr(f"{DEPENDENCY}@v1.2.3/{name}", f"module {DEPENDENCY}\n" if name == "go.mod" else name)
    places = {"GOMODCACHE": str(tmp_path / "modules"), "GOCACHE": str(tmp_path / "cache")}
    return {"GOPROXY": f"file://{tmp_path}/proxy", "GOSUMDB": "off", "GOFLAGS": "-modcacherw", "GOENV": "off", **places}


def published(version: str, **folders: Folder) -> Component:
    names = {name.replace("_", "."): folder for name, folder in folders.items()}
    whole = Component(name="net", summary="a network", version="9.9.9", kind="image", build=BUILD, published=names)
    return whole.as_published(version)


def test_folders_of_another_version_come_from_its_module(proxy: dict[str, str], desk: Desk) -> None:
    folder = Folder(module=DEPENDENCY, path="chart", only=("Chart.yaml", "values.yaml"))
    found = folders_of(published("1.2.3", chart_tar=folder), desk, proxy)
    assert isinstance(found, Delivered)
    assert (found.version, found.origin.rpartition(" ")[0]) == ("1.2.3", f"{DEPENDENCY} v1.2.3")
    assert found.origin.rpartition(" ")[2].startswith("h1:")
    assert archived(desk.files / "chart.tar") == ["Chart.yaml", "values.yaml"]


@pytest.mark.parametrize(
    ("version", "path", "reason", "remedy"),
    [
        ("1.2.4", "chart", "go mod download: ", f"'go list -m -versions {DEPENDENCY}'"),
        ("1.2.3", "charts", f"{DEPENDENCY} v1.2.3 has no charts", "nearer"),
    ],
)
def test_a_version_or_a_folder_that_is_not_there_is_refused(
    version: str, path: str, reason: str, remedy: str, proxy: dict[str, str], desk: Desk
) -> None:
    found = folders_of(published(version, chart_tar=Folder(module=DEPENDENCY, path=path)), desk, proxy)
    assert isinstance(found, Refused)
    assert found.reason.startswith(reason)
    assert remedy in found.remedy


def test_the_error_about_a_version_names_the_pinned_one_and_nothing_that_cannot_be(
    proxy: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in proxy.items():
        monkeypatch.setenv(name, value)
    lock = load()
    cache = Resolver(tmp_path / "store", lock=with_network(lock, "flannel", "0.0.1"))
    with pytest.raises(PreflightError, match=r"flannel 0\.0\.1 \(.*the pinned version is ") as caught:
        cache.ensure(["flannel"])
    assert [line.partition(":")[0] for line in caught.value.cause.splitlines()][:2] == ["cache", "build"]
    assert caught.value.where == "spec.cniVersion"
    assert lock.component["flannel"].version in str(caught.value)
