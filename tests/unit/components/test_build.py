from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from harness import resources
from harness.components import elf
from harness.components.lock import Build, Component, architecture
from harness.components.sources import build as sources_build
from harness.components.sources import golang
from harness.components.sources.base import CancelledError, Delivered, Desk, Refused, run_long
from harness.components.sources.build import ROOM_TO_LINK, BuildSource, only_links, progress, source_digest
from harness.components.turns import Turns
from harness.errors import PreflightError
from harness.runner import Argv, CommandError, Completed, HostRunner
from harness.timeouts import ticks, wait_until

FAKE_GO = """#!/bin/sh
if [ "$1" = version ]; then echo "go version go${FAKE_GO_VERSION:-1.22.0} linux/amd64"; exit; fi
if [ "$1" = env ]; then echo "$FAKE_GO_ENV"; exit; fi
pwd > "$FAKE_GO_RECORD.cwd"
env | grep -E '^(CGO_|GO|CC=|CXX=)' | sort > "$FAKE_GO_RECORD.env"
while [ $# -gt 0 ]; do
  echo "$1" >> "$FAKE_GO_RECORD"
  if [ "$1" = -o ]; then out=$2; fi
  shift
done
echo "example.org/broken: undefined: x" >&2
if [ -n "$FAKE_GO_FAILS" ]; then exit 1; fi
if [ -n "$FAKE_GO_LINKS" ]; then
  echo example.org/thing >&2
  until [ -e "$FAKE_GO_LINKS" ]; do sleep 0.1; done
fi
case $out in */) out=$out/thing ;; esac
echo built > "$out"
"""


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `go` on PATH that writes down how it was called."""
    directory = tmp_path / "on-path"
    directory.mkdir()
    (directory / "go").write_text(FAKE_GO)
    (directory / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_GO_RECORD", str(tmp_path / "record"))
    return tmp_path / "record"


@pytest.fixture
def module(tmp_path: Path) -> Path:
    directory = tmp_path / "components" / "thing"
    directory.mkdir(parents=True)
    (directory / "go.mod").write_text("module example.org/thing\n")
    (directory / "main.go").write_text("package main\n")
    return directory


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    for name in ("files", "scratch"):
        (tmp_path / name).mkdir()
    return Desk(tmp_path / "files", tmp_path / "scratch", HostRunner(), lambda _: None)


def find(name: str) -> dict[str, Path]:
    path = shutil.which(name)
    return {name: Path(path)} if path else {}


def ends(pid: int) -> bool:
    """Whether a process is gone, or soon will be."""
    for _ in ticks(5):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
    os.kill(pid, signal.SIGKILL)
    return False


def thing(**build: Any) -> Component:
    table = {"module": "thing", "target": ".", "files": {"tool": "thing"}, **build}
    return Component(name="thing", summary="a test", version="1.2.3", kind="bin", build=Build.model_validate(table))


def test_a_build_delivers_its_program_under_the_name_of_the_lock(record: Path, module: Path, desk: Desk) -> None:
    flags = "-s -w\n-X example.org/v.Version=v{version} -X example.org/v.Major={major}"
    answer = BuildSource(find, module.parent).deliver(thing(ldflags=flags, tags=["netgo", "osusergo"]), desk)
    assert answer == Delivered("1.2.3", "go build of components/thing, Go 1.22.0")
    assert (desk.files / "tool").read_text() == "built\n"
    words = record.read_text().splitlines()
    assert "-s -w -X example.org/v.Version=v1.2.3 -X example.org/v.Major=1" in words
    assert "netgo,osusergo" in words
    assert words[-1] == "."
    assert Path(record.with_suffix(".cwd").read_text().strip()) == module


def test_tools_of_a_go_mod_are_built_into_a_directory(record: Path, module: Path, desk: Desk) -> None:
    assert isinstance(BuildSource(find, module.parent).deliver(thing(target="tool"), desk), Delivered)
    words = record.read_text().splitlines()
    assert words[-1] == "tool"
    assert words[-2].endswith("/")


def test_sources_are_fetched_while_another_build_has_the_cores(record: Path, module: Path, desk: Desk) -> None:
    source = BuildSource(find, module.parent)
    source.turns = Turns(1)
    with source.turns.turn("longer", desk.check):
        waiting = threading.Thread(target=source.deliver, args=(thing(), desk))
        waiting.start()
        wait_until("the sources are asked for", record.exists, deadline=10)
        wait_until("the list ends", lambda: "." in record.read_text().splitlines(), deadline=10)
        assert "build" not in record.read_text().splitlines()
    waiting.join()
    assert "build" in record.read_text().splitlines()


@pytest.mark.parametrize(("memory", "beside"), [(ROOM_TO_LINK, True), (ROOM_TO_LINK - 1, False)])
def test_while_a_program_is_linked_the_next_build_begins_where_there_is_memory(
    memory: int, beside: bool, record: Path, module: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    del record
    linked = desk.scratch / "linked"
    monkeypatch.setenv("FAKE_GO_LINKS", "")
    monkeypatch.setattr(sources_build, "_memory_available", lambda: memory)
    source = BuildSource(find, module.parent)
    source.turns = Turns(1)
    monkeypatch.setattr(source, "_download", lambda *_: monkeypatch.setenv("FAKE_GO_LINKS", str(linked)))
    linking = threading.Thread(target=source.deliver, args=(thing(), desk))
    linking.start()
    log = desk.scratch / "build.log"
    wait_until("it links", lambda: log.exists() and "example.org/thing\n" in log.read_text(), deadline=10)
    began = threading.Event()
    outcome = nullcontext() if beside else pytest.raises(InterruptedError)
    with outcome, source.turns.turn("next", _patience(3, InterruptedError)):
        began.set()
    assert began.is_set() == beside
    linked.touch()
    linking.join()
    assert (desk.files / "tool").read_text() == "built\n"


def _patience(seconds: float, error: type[Exception]) -> Callable[[], None]:
    """A check that gives up after some seconds."""
    end = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > end:
            raise error

    return check


@pytest.mark.parametrize(
    ("lines", "links"),
    [
        ([], False),
        (["go: downloading example.org/thing v1", "# example.org/thing"], False),
        (["net/http", "example.org/cmd/thing"], False),
        (["net/http", "example.org/cmd/thing", "example.org/cmd/other"], True),
    ],
)
def test_a_build_only_links_when_the_packages_of_all_programs_came(lines: list[str], links: bool) -> None:
    build = Build(module="thing", target="tool", files={"a": "thing", "b": "other"})
    assert only_links(lines, build) == links


def test_another_version_is_built_from_pins_of_its_own_beside_those_of_the_default(
    record: Path, module: Path, desk: Desk
) -> None:
    source = BuildSource(find, module.parent)
    answer = source.deliver(thing(modfile="1.1.mod"), desk)
    assert isinstance(answer, Refused)
    assert "has no 1.1.mod" in answer.reason
    (module / "1.1.mod").write_text("module example.org/thing\n")
    assert isinstance(source.deliver(thing(modfile="1.1.mod"), desk), Delivered)
    words = record.read_text().splitlines()
    assert words.count("-modfile=1.1.mod") == 2, "the sources are listed, then built, by the same pins"


@pytest.mark.parametrize(("cgo", "expected"), [(False, "CGO_ENABLED=0"), (True, "CGO_ENABLED=1")])
def test_c_is_used_only_where_the_lock_says_so(
    record: Path, module: Path, desk: Desk, expected: str, *, cgo: bool
) -> None:
    BuildSource(find, module.parent).deliver(thing(cgo=cgo), desk)
    assert expected in record.with_suffix(".env").read_text().split()


def test_an_offline_build_does_not_ask_a_module_proxy(
    record: Path, module: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNILAB_OFFLINE", "1")
    BuildSource(find, module.parent).deliver(thing(), desk)
    assert "GOPROXY=off" in record.with_suffix(".env").read_text().split()


def test_of_the_users_settings_only_the_ways_to_modules_stay(
    record: Path, module: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that `go env -w` wrote, which no variable shows."""
    written = {"GOPROXY": "https://proxy.test", "GOPRIVATE": "corp.test", "GOTOOLCHAIN": "go1.21.0"}
    flags = "-mod=mod -tags=x -modcacherw -p=3"
    monkeypatch.setenv("FAKE_GO_ENV", json.dumps({**written, "GOFLAGS": flags}))
    for name in ("GOARCH", "GOOS", "GOEXPERIMENT", "GO111MODULE", "GOROOT", "GOENV", "CC", "CGO_LDFLAGS"):
        monkeypatch.setenv(name, "mine")
    BuildSource(find, module.parent).deliver(thing(), desk)
    lines = record.with_suffix(".env").read_text().splitlines()
    known = {line.partition("=")[0]: line.partition("=")[2] for line in lines}
    assert "mine" not in known.values()
    assert (known["GOOS"], known["GOARCH"], known["GOENV"]) == ("linux", architecture(), "off")
    assert (known["GOPROXY"], known["GOPRIVATE"]) == ("https://proxy.test", "corp.test")
    assert known["GOFLAGS"] == "-mod=readonly -modcacherw -p=3"
    assert known["GOTOOLCHAIN"] == "auto"


@pytest.mark.parametrize("rule", ["local", "path", "auto", "local+auto", "go1.26.1+path"])
def test_whether_go_may_fetch_another_go_is_the_users_to_say(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOTOOLCHAIN", rule)
    assert golang.settings(Silent())["GOTOOLCHAIN"] == rule


class Silent(HostRunner):
    """A go that says nothing."""

    def run(self, argv: Argv, **_: Any) -> Completed:
        msg = "go: cannot find GOROOT directory"
        raise CommandError(msg, where=str(argv))


@pytest.mark.skipif(not shutil.which("go"), reason="no go on this machine")
def test_a_real_build_is_for_this_machine_whatever_the_user_set(
    module: Path, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "GOARCH=arm64\nGOOS=freebsd\nGOFLAGS=-tags=broken -mod=vendor\nGO111MODULE=off\nGOEXPERIMENT=nosuch\n"
    (tmp_path / "env").write_text(wrong)
    monkeypatch.setenv("GOENV", str(tmp_path / "env"))
    monkeypatch.setenv("GOROOT", str(tmp_path / "no-go-here"))
    (module / "go.mod").write_text("module example.org/thing\n\ngo 1.21\n")
    (module / "main.go").write_text("package main\n\nfunc main() {}\n")
    (module / "broken.go").write_text("//go:build broken\n\npackage main\n\nfunc main() { this is not go }\n")
    answer = BuildSource(find, module.parent).deliver(thing(), desk)
    assert isinstance(answer, Delivered), answer
    assert (desk.files / "tool").read_bytes().startswith(b"\x7fELF")
    assert not elf.foreign(desk.files / "tool")
    assert subprocess.run([desk.files / "tool"], check=False).returncode == 0


@pytest.mark.usefixtures("record")
def test_a_failed_build_says_what_the_compiler_said(module: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GO_FAILS", "1")
    answer = BuildSource(find, module.parent).deliver(thing(), desk)
    assert isinstance(answer, Refused)
    assert answer.reason == f"go build in {module} failed: example.org/broken: undefined: x"


@pytest.mark.usefixtures("record")
def test_a_build_that_made_something_else_is_refused(module: Path, desk: Desk) -> None:
    answer = BuildSource(find, module.parent).deliver(thing(target="tool", files={"tool": "other"}), desk)
    assert answer == Refused(f"go build in {module} made no program named other")


@pytest.mark.usefixtures("record")
def test_an_old_go_is_refused_with_its_version(module: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GO_VERSION", "1.20.14")
    answer = BuildSource(find, module.parent).deliver(thing(), desk)
    assert isinstance(answer, Refused)
    assert answer.reason == "go is version 1.20.14, but 1.21 or newer is needed"


def test_without_go_the_way_out_is_told(module: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(desk.scratch))
    answer = BuildSource(find, module.parent).deliver(thing(), desk)
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.remedy.startswith("install Go 1.21")) == ("go is not on PATH", True)


@pytest.mark.usefixtures("record")
def test_a_build_without_its_compiler_is_refused_with_the_remedy(module: Path, desk: Desk) -> None:
    def need(name: str) -> dict[str, Path]:
        msg = f"programs are missing on this machine: {name}"
        raise PreflightError(msg, next_step="as root: apt-get install gcc")

    answer = BuildSource(need, module.parent).deliver(thing(needs=["gcc"]), desk)
    assert answer == Refused(
        "the build needs gcc: programs are missing on this machine: gcc", "as root: apt-get install gcc"
    )


@pytest.mark.usefixtures("record")
def test_a_build_whose_compiler_cannot_be_had_is_refused(module: Path, desk: Desk) -> None:
    answer = BuildSource(find, module.parent).deliver(thing(needs=["cnilab-cc"]), desk)
    assert answer == Refused("the build needs cnilab-cc", "install cnilab-cc")


def test_pins_of_another_version_do_not_make_a_module_another(module: Path) -> None:
    before = source_digest(module)
    (module / "1.1.mod").write_text("module example.org/thing\n")
    (module / "1.1.sum").write_text("")
    assert source_digest(module) == before
    other = source_digest(module, "1.1.mod")
    (module / "1.1.sum").write_text("example.org/dependency v1.0.0 h1:…\n")
    assert source_digest(module) == before
    assert source_digest(module, "1.1.mod") != other


def test_a_module_is_another_when_its_sources_change_and_the_same_when_its_tests_do(module: Path) -> None:
    before = source_digest(module)
    (module / "main_test.go").write_text("package main\n")
    (module / ".gitignore").write_text("thing\n")
    assert source_digest(module) == before
    (module / "sub").mkdir()
    (module / "sub" / "data.txt").write_text("embedded")
    changed = source_digest(module)
    assert changed != before
    (module / "sub" / "data.txt").rename(module / "data.txt")
    assert source_digest(module) != changed


def test_a_cancelled_build_ends_with_all_its_children(desk: Desk, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    threading.Timer(0.3, desk.cancelled.set).start()
    script = f"sleep 60 & echo $! > {pid_file}; echo compiling; wait"
    with pytest.raises(CancelledError):
        run_long(desk, ("sh", "-c", script), deadline=30, env={}, cwd=tmp_path, log=tmp_path / "log", describe=progress)
    assert ends(int(pid_file.read_text())), "a compiler outlived its cancelled build"


def test_a_build_ends_when_the_harness_is_killed(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from harness.components.sources.base import Desk, run_long
from harness.runner import HostRunner
from harness.timeouts import ticks, wait_until
place = Path({str(tmp_path)!r})
desk = Desk(place, place, HostRunner(), lambda _: None)
argv = ("sh", "-c", "echo $$ > pid.new; mv pid.new pid; exec sleep 60")
run_long(desk, argv, deadline=60, env={{}}, cwd=place, log=place / "log", describe=lambda _: "")
"""
    harness = subprocess.Popen((sys.executable, "-c", program), cwd=resources.root())
    wait_until("the build to start", (tmp_path / "pid").exists, 20)
    harness.kill()
    harness.wait()
    assert ends(int((tmp_path / "pid").read_text())), "a build outlived the harness"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "nothing to compile so far"),
        (["go: downloading k8s.io/api v0.34.4", "go: downloading k8s.io/utils v1"], "modules downloaded: 2"),
        (
            ["go: downloading x v1", "k8s.io/api", "# k8s.io/utils", "k8s.io/utils"],
            "packages compiled: 2, last k8s.io/utils",
        ),
    ],
)
def test_progress_counts_what_go_prints(lines: list[str], words: str) -> None:
    assert progress(lines) == words


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")
def test_a_real_go_builds_the_pause_program_the_same_twice(tmp_path: Path) -> None:
    component = Component(
        name="pause",
        summary="",
        version="1",
        kind="image",
        build=Build(module="pause", target=".", files={"pause": "pause"}),
    )
    contents = []
    for number in ("1", "2"):
        desk = Desk(tmp_path / number / "files", tmp_path / number / "scratch", HostRunner(), lambda _: None)
        desk.files.mkdir(parents=True)
        desk.scratch.mkdir()
        assert isinstance(BuildSource(find).deliver(component, desk), Delivered)
        contents.append((desk.files / "pause").read_bytes())
    assert contents[0] == contents[1]
