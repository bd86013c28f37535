"""Edited copies and packed folders of a module, with the real go and a module of files."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from harness.components.lock import Edit, Folder
from harness.components.sources.modules import Modules
from harness.errors import PreflightError
from harness.runner import HostRunner

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="go is not on PATH")
DEPENDENCY = "example.org/dependency"


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
    with pytest.raises(PreflightError, match="is not the version that the lock's edit is for") as caught:
        modules.edited((edit('"/sys/module"'),), scratch)
    assert "0 times" in str(caught.value)


def test_a_folder_is_packed_in_order_without_what_is_left_out(modules: Modules, tmp_path: Path) -> None:
    modules.pack(Folder(module=DEPENDENCY, path="data", without=("tests",)), tmp_path / "data.tar")
    with tarfile.open(tmp_path / "data.tar") as tar:
        assert [(info.name, info.mtime) for info in tar] == [("a.c", 0)]
