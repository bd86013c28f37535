"""A Go of the project's own: fetched from Go's module proxy, and taken only with the sum that is pinned."""

from __future__ import annotations

import re
import shutil
import threading
import zipfile
from pathlib import Path

import pytest

from harness import resources
from harness.components import carry
from harness.components.lock import GoPin, Lock, architecture, load
from harness.components.prune import prune
from harness.components.sources import golang, toolchain
from harness.components.sources.base import CancelledError, Delivered, Desk, Refused, probe_version
from harness.components.sources.build import BuildSource
from harness.components.sources.download import BadDownloadError, download
from harness.components.store import Store
from harness.runner import HostRunner
from tests.unit.components.test_build import FAKE_GO, find, thing

Served = tuple[str, Path]

THING = "example.org/thing@v1.0.0"
FILES = {
    "bin/go": "#!/bin/sh\necho go version go9.9.9 linux\n",
    "src/_go.mod": "module std\n",
    "VERSION": "go9.9.9\n",
    "go.mod": "module example.org/thing\n",
}
SUM = "h1:c179iT6Trj0eQDYg035qnClazLIVov01TVTtlQOGVVA="
"""What `go mod download -json` said of a module with these files."""


def packed(target: Path, module: str = THING, files: dict[str, str] = FILES) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{module}/{name}", content)
    return target


def test_the_sum_is_gos_own(tmp_path: Path) -> None:
    assert toolchain.unpack(packed(tmp_path / "thing.zip"), THING, tmp_path / "go") == SUM
    made = {str(path.relative_to(tmp_path / "go")): path for path in (tmp_path / "go").rglob("*") if path.is_file()}
    assert set(made) == {*FILES, "src/go.mod"}
    assert {name: path.stat().st_mode & 0o777 for name, path in made.items()} == {
        "bin/go": 0o755,
        **dict.fromkeys(("src/_go.mod", "src/go.mod", "VERSION", "go.mod"), 0o644),
    }


@pytest.mark.parametrize("spoilt", ["", *FILES, "src/go.mod", "more"])
def test_the_sum_is_found_again_in_what_was_unpacked(spoilt: str, tmp_path: Path) -> None:
    toolchain.unpack(packed(tmp_path / "thing.zip"), THING, tmp_path / "go")
    if spoilt:
        with (tmp_path / "go" / spoilt).open("a") as file:
            file.write("?")
    assert (toolchain.sum_of(tmp_path / "go", THING) == SUM) == (not spoilt)


@pytest.mark.parametrize("name", ["../outside", "bin/../../../outside", "/outside"])
def test_no_name_in_the_archive_leads_out_of_it(name: str, tmp_path: Path) -> None:
    archive = packed(tmp_path / "a" / "thing.zip", files={name: "x"})
    with pytest.raises(BadDownloadError, match="outside"):
        toolchain.unpack(archive, THING, tmp_path / "a" / "go" / "deep")
    assert not list(tmp_path.rglob("outside"))


def test_what_is_not_below_the_modules_name_is_not_the_modules(tmp_path: Path) -> None:
    with pytest.raises(BadDownloadError, match=r"other@v1\.0\.0/VERSION"):
        toolchain.unpack(packed(tmp_path / "thing.zip", "example.org/other@v1.0.0"), THING, tmp_path / "go")


def test_the_pinned_go_is_new_enough_for_every_module() -> None:
    pinned = load().go
    assert pinned is not None
    asked = {
        tuple(map(int, found.split(".")))
        for path in (resources.root() / "components").glob("*/*.mod")
        for found in re.findall(r"^(?:go |toolchain go)([\d.]+)$", path.read_text(), re.MULTILINE)
    }
    assert len(asked) > 1
    assert tuple(map(int, pinned.version.split("."))) >= max(asked)
    assert set(pinned.sums) == {"amd64", "arm64"}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    for name in ("files", "scratch"):
        (tmp_path / name).mkdir()
    return Desk(tmp_path / "files", tmp_path / "scratch", HostRunner(), lambda _: None)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    directory = tmp_path / "components" / "thing"
    directory.mkdir(parents=True)
    (directory / "go.mod").write_text("module example.org/thing\n")
    return directory


@pytest.fixture
def without_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with all that this machine has, but go."""
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.setenv("FAKE_GO_RECORD", str(tmp_path / "record"))
    monkeypatch.delenv("CNILAB_OFFLINE", raising=False)
    if find("go"):
        pytest.skip("go is among the system's own programs")
    return tmp_path / "record"


def first_on_path(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A go of the machine's own."""
    folder.mkdir()
    (folder / "go").write_text(script)
    (folder / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def offer(served: Served, monkeypatch: pytest.MonkeyPatch, sum_: str = "") -> GoPin:
    """A proxy that has a toolchain, whose go is the fake one of the tests of builds."""
    url, folder = served
    name = f"v0.0.1-go1.22.0.linux-{architecture()}"
    archive = folder / "golang.org/toolchain/@v" / f"{name}.zip"
    files = {**FILES, "bin/go": FAKE_GO}
    found = toolchain.unpack(
        packed(archive, f"{toolchain.MODULE}@{name}", files), f"{toolchain.MODULE}@{name}", folder.parent / "looked-at"
    )
    monkeypatch.setenv("GOPROXY", f"{url}/nothing,{url}/|direct")
    return GoPin.model_validate({"version": "1.22.0", "sums": {architecture(): sum_ or found}})


def store(tmp_path: Path, pinned: GoPin | None) -> Store:
    return Store(tmp_path / "cache", lock=Lock.model_validate({"schema": 1, "component": {}, "go": pinned}))


def test_where_there_is_no_go_a_build_has_the_pinned_one(
    served: Served, without_go: Path, module: Path, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = store(tmp_path, offer(served, monkeypatch))
    answer = BuildSource(find, module.parent, own).deliver(thing(), desk)
    assert answer == Delivered("1.2.3", "go build of components/thing, Go 1.22.0")
    assert "build" in without_go.read_text().splitlines()
    assert own.lock.go is not None
    assert (own.cache / f"go/1.22.0-{architecture()}/bin/go").read_text() == FAKE_GO
    # The second time nobody is asked.
    monkeypatch.setenv("GOPROXY", "off")
    assert toolchain.deliver(own, desk) is None


def test_one_that_is_too_old_is_passed_over(
    served: Served, without_go: Path, module: Path, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_on_path(tmp_path / "old", "#!/bin/sh\necho go version go1.19.8 linux/amd64\n", monkeypatch)
    own = store(tmp_path, offer(served, monkeypatch))
    answer = BuildSource(find, module.parent, own).deliver(thing(), desk)
    assert isinstance(answer, Delivered), answer
    assert answer.origin.endswith("Go 1.22.0")
    assert without_go.exists()


def test_another_sum_than_the_pinned_one_is_refused_and_nothing_stays(
    served: Served, without_go: Path, module: Path, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = store(tmp_path, offer(served, monkeypatch, SUM))
    answer = BuildSource(find, module.parent, own).deliver(thing(), desk)
    assert isinstance(answer, Refused)
    assert answer.reason.startswith("go is not on PATH; ")
    assert f"but components.lock says {SUM}" in answer.reason
    assert "404" in answer.reason, "the first proxy, which has nothing"
    assert "install Go" in answer.remedy
    assert not list((own.cache / "go").glob("*"))
    assert not without_go.exists()


def test_the_first_proxy_that_has_it_is_the_last_that_is_asked(
    served: Served, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one behind it, which has something else under that name, must not get the last word."""
    own = store(tmp_path, offer(served, monkeypatch))
    url, folder = served
    name = f"v0.0.1-go1.22.0.linux-{architecture()}"
    files = {**FILES, "bin/go": "#!/bin/sh\nexit 66\n"}
    packed(folder / "evil/golang.org/toolchain/@v" / f"{name}.zip", f"{toolchain.MODULE}@{name}", files)
    for order in (f"{url},{url}/evil", f"{url}/evil,{url}"):
        monkeypatch.setenv("GOPROXY", order)
        assert toolchain.deliver(own, desk) is None
        assert (own.cache / f"go/1.22.0-{architecture()}/bin/go").read_text() == FAKE_GO
        shutil.rmtree(own.cache / "go")


def test_a_damaged_archive_is_a_reason_and_no_crash(
    served: Served, tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = store(tmp_path, offer(served, monkeypatch))
    (archive,) = served[1].rglob("*.zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
        name = f"{toolchain.MODULE}@{archive.stem}/bin/go"
        files.writestr(name, "x" * 10_000)
    content = archive.read_bytes()
    start = content.index(name.encode()) + len(name)
    archive.write_bytes(content[:start] + b"\xff" * 8 + content[start + 8 :])
    refused = toolchain.deliver(own, desk)
    assert refused is not None
    assert "Error -3 while decompressing" in refused.reason or "CRC" in refused.reason


def test_one_that_does_not_run_in_its_place_is_refused(
    served: Served, without_go: Path, module: Path, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = store(tmp_path / "a:b", offer(served, monkeypatch))
    answer = BuildSource(find, module.parent, own).deliver(thing(), desk)
    assert isinstance(answer, Refused)
    assert "does not run (check for a colon in its path, or noexec)" in answer.reason
    assert not without_go.exists()


def test_one_that_may_not_fetch_what_the_module_asks_for_is_passed_over(
    served: Served, without_go: Path, module: Path, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the golang images of Docker: GOTOOLCHAIN=local."""
    (module / "go.mod").write_text("module example.org/thing\n\ngo 1.22.0\n")
    first_on_path(tmp_path / "old", FAKE_GO.replace("1.22.0", "1.21.5"), monkeypatch)
    own = store(tmp_path, offer(served, monkeypatch))
    for rule, version in (("auto", "1.21.5"), ("local", "1.22.0"), ("path", "1.22.0"), ("go1.21.5+auto", "1.21.5")):
        monkeypatch.setenv("FAKE_GO_ENV", f'{{"GOTOOLCHAIN": "{rule}"}}')
        answer = BuildSource(find, module.parent, own).deliver(thing(), desk)
        assert isinstance(answer, Delivered), answer
        assert answer.origin.endswith(f"Go {version}"), rule
        shutil.rmtree(desk.scratch / "out")
    assert without_go.exists()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CNILAB_OFFLINE", "1", "CNILAB_OFFLINE=1 does not allow"),
        ("GOPROXY", "off", "GOPROXY names no proxy"),
        ("GOPROXY", "direct", "GOPROXY names no proxy"),
        ("GOPROXY", "https://me:secret@proxy.example", "GOPROXY names no proxy"),
        ("GOPROXY", "https://[bad", "GOPROXY names no proxy"),
    ],
)
@pytest.mark.usefixtures("without_go")
def test_where_none_can_be_fetched_the_reason_is_told(
    variable: str, value: str, words: str, module: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    answer = BuildSource(find, module.parent, store(desk.scratch, load().go)).deliver(thing(), desk)
    assert isinstance(answer, Refused)
    assert words in answer.reason
    assert "secret" not in answer.reason


def test_of_other_machines_nothing_is_pinned() -> None:
    assert toolchain.obstacle(GoPin(version="1.26.8", sums={})).endswith("is pinned")
    assert toolchain.obstacle(None).endswith("is pinned")


@pytest.mark.parametrize(
    ("goproxy", "found"),
    [
        ("", [toolchain.PROXY]),
        ("https://one.example/, http://two.example|file:///three,direct", [
            "https://one.example", "http://two.example", "file:///three",
        ]),
        ("off", []),
    ],
)  # fmt: skip
def test_proxies_are_those_of_gos_own_variable(goproxy: str, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", goproxy)
    assert toolchain.proxies() == found


@pytest.mark.usefixtures("without_go")
def test_builds_that_begin_together_fetch_it_once(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = store(tmp_path, offer(served, monkeypatch))
    fetched: list[str] = []

    def noted(url: str, target: Path, desk: Desk) -> str:
        fetched.append(url)
        return download(url, target, desk)

    monkeypatch.setattr(toolchain, "download", noted)

    def build(number: int) -> None:
        desk = Desk(tmp_path / f"files{number}", tmp_path / f"scratch{number}", HostRunner(), lambda _: None)
        assert toolchain.deliver(own, desk) is None

    threads = [threading.Thread(target=build, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([url for url in fetched if "/nothing/" not in url]) == 1
    way = toolchain.variables(own.cache, own.lock.go)
    assert probe_version(HostRunner(), golang.VERSION, way) == "1.22.0"


def test_who_gives_up_waits_for_no_download(
    served: Served, tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = store(tmp_path, offer(served, monkeypatch))
    desk.cancelled.set()
    with pytest.raises(CancelledError):
        toolchain.deliver(own, desk)
    assert not list((own.cache / "go").glob("*"))


def test_verify_finds_a_changed_byte_and_takes_it_out(
    served: Served, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = store(tmp_path, offer(served, monkeypatch))
    assert own.lock.go is not None
    assert [(one.name, one.state, one.pinned) for one in carry.verify_toolchain(own)] == [("go", "missing", "1.22.0")]
    assert toolchain.deliver(own, desk) is None
    (found,) = carry.verify_toolchain(own)
    assert (found.state, found.version, found.digest) == ("cached", "1.22.0", own.lock.go.sum)
    assert found.size > len(FAKE_GO)
    place = toolchain.place(own.cache, own.lock.go)
    (place / "bin/go").write_text(FAKE_GO + "# evil\n")
    (found,) = carry.verify_toolchain(own)
    assert found.state == "damaged"
    assert "components.lock says" in found.problems[0]
    assert not place.exists()


def test_nothing_is_verified_where_no_go_is_pinned(tmp_path: Path) -> None:
    assert carry.verify_toolchain(store(tmp_path, None)) == []


def test_prune_keeps_the_pinned_one(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = store(tmp_path, offer(served, monkeypatch))
    for name in (f"1.22.0-{architecture()}", f"1.20.0-{architecture()}"):
        (own.cache / "go" / name).mkdir(parents=True)
    assert [path.name for path in prune(own)] == [f"1.20.0-{architecture()}"]
