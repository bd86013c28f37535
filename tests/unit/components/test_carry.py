from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.components import carry
from harness.components import entry as entries
from harness.components.entry import Entry
from harness.components.store import Store
from harness.errors import UsageError
from harness.model.journal import now

SYSTEM = {"system": {"programs": {"tool": "tool"}}, "probe": ["tool", "--version"]}
OTHER = {"system": {"programs": {"other": "other"}}}
MakeStore = Callable[..., Store]


@pytest.fixture
def store(make_store: MakeStore, program: Callable[[str, str], Path]) -> Store:
    program("tool", "1.5")
    store = make_store("cache", "system", tool=SYSTEM, other=OTHER)
    store.ensure(["tool"])
    return store


@pytest.fixture
def elsewhere(make_store: MakeStore) -> Store:
    """The same lock on a machine with an empty cache."""
    return make_store("cache", cache="elsewhere", tool=SYSTEM, other=OTHER)


def states(store: Store) -> dict[str, str]:
    return {status.name: status.state for status in carry.list_components(store)}


def spoil(store: Store) -> Path:
    """Change one byte, leaving size and time as they were."""
    path = store.ensure(["tool"])["tool"].path
    path.chmod(0o755)
    before = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return path


def test_the_list_says_what_the_cache_has(store: Store) -> None:
    tool, other = carry.list_components(store)
    assert (tool.state, tool.version, tool.source, tool.sources) == ("cached", "1.5", "system", ("system",))
    assert tool.size > 0
    assert (other.state, other.pinned, other.digest) == ("missing", "1.0", "")


def test_verify_finds_a_changed_byte_and_takes_the_entry_out(store: Store) -> None:
    path = spoil(store)
    assert states(store)["tool"] == "cached", "the quick look cannot see it"
    tool = carry.verify(store)[0]
    assert tool.state == "damaged"
    assert str(path) in tool.problems[0]
    assert states(store)["tool"] == "missing"


@pytest.mark.parametrize("name", ["export.tar", "export.tar.gz", "export.tgz"])
def test_an_export_brings_the_same_components_to_another_machine(
    store: Store, elsewhere: Store, tmp_path: Path, name: str
) -> None:
    archive = tmp_path / name
    assert [status.name for status in carry.export(store, archive)] == ["tool"]
    assert [entry.name for entry in carry.import_(elsewhere, archive)] == ["tool"]
    one, other = store.ensure(["tool"])["tool"], elsewhere.ensure(["tool"])["tool"]
    assert other.digest == one.digest
    assert other.path.read_bytes() == one.path.read_bytes()
    assert other.path.stat().st_mode & 0o111
    assert not list(tmp_path.glob(".*.new"))


@pytest.mark.parametrize("name", ["export.tar", "export.tgz"])
def test_the_same_cache_gives_the_same_export(store: Store, tmp_path: Path, name: str) -> None:
    for place in ("1", "2"):
        (tmp_path / place).mkdir()
        carry.export(store, tmp_path / place / name)
    assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_damaged_cache_is_not_exported(store: Store, tmp_path: Path) -> None:
    spoil(store)
    with pytest.raises(carry.DamagedError, match="the cache is damaged"):
        carry.export(store, tmp_path / "export.tar")
    assert not (tmp_path / "export.tar").exists()


def test_an_empty_cache_is_not_exported(elsewhere: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to export"):
        carry.export(elsewhere, tmp_path / "export.tar")


def add(archive: Path, name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE) -> None:
    with tarfile.open(archive, "a") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname = kind, len(content) if kind == tarfile.REGTYPE else 0, "/etc/passwd"
        tar.addfile(info, io.BytesIO(content))


KEY = "0123456789abcdef"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../outside", tarfile.REGTYPE),
        ("/outside", tarfile.REGTYPE),
        (f"tool/{KEY}/../../../outside", tarfile.REGTYPE),
        (f"tool/{KEY}/files/../../outside", tarfile.REGTYPE),
        (f"../x/{KEY}/entry.json", tarfile.REGTYPE),
        (f"tool/{KEY}/files/.hidden", tarfile.REGTYPE),
        (f"tool/{KEY}/files/link", tarfile.SYMTYPE),
        (f"tool/{KEY}/files/link", tarfile.LNKTYPE),
        (f"tool/{KEY}/files/device", tarfile.CHRTYPE),
        (f"tool/{KEY}/files/x\n", tarfile.REGTYPE),
    ],
)
def test_an_archive_with_a_foreign_member_is_refused_whole(
    store: Store, elsewhere: Store, tmp_path: Path, name: str, kind: bytes
) -> None:
    archive = tmp_path / "export.tar"
    carry.export(store, archive)
    add(archive, name, kind=kind)
    with pytest.raises(UsageError, match="is not an export of components"):
        carry.import_(elsewhere, archive)
    assert states(elsewhere)["tool"] == "missing"
    assert not list(tmp_path.rglob("outside"))


def test_a_changed_byte_in_an_archive_is_found(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    archive = tmp_path / "export.tar"
    carry.export(store, archive)
    archive.write_bytes(archive.read_bytes().replace(b"echo tool", b"echo evil"))
    with pytest.raises(carry.DamagedError, match="the archive is damaged"):
        carry.import_(elsewhere, archive)
    assert states(elsewhere)["tool"] == "missing"


def test_an_entry_that_claims_to_be_another_is_refused(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    carry.export(store, tmp_path / "export.tar")
    entry = json.loads((store.directory(store.lock.component["tool"]) / "entry.json").read_text())
    forged = tmp_path / "forged.tar"
    add(forged, f"other/{entry['key']}/entry.json", json.dumps(entry).encode())
    with pytest.raises(carry.DamagedError, match="damaged"):
        carry.import_(elsewhere, forged)


@pytest.mark.parametrize("content", [b"", b"not a tar", b"\x1f\x8b\x08"])
def test_what_is_not_an_archive_is_refused(elsewhere: Store, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "export.tar").write_bytes(content)
    with pytest.raises(UsageError):
        carry.import_(elsewhere, tmp_path / "export.tar")


@pytest.mark.parametrize("name", ["export.tar", "export.tgz"])
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_an_archive_that_was_cut_off_is_refused(
    store: Store, elsewhere: Store, tmp_path: Path, name: str, share: float
) -> None:
    archive = tmp_path / name
    carry.export(store, archive)
    whole = archive.read_bytes()
    # An uncompressed tar ends in 10 KiB of padding: cut within the first two members.
    archive.write_bytes(whole[: int((len(whole) if name.endswith("gz") else 2500) * share)])
    with pytest.raises(UsageError, match=r"incomplete|no component"):
        carry.import_(elsewhere, archive)
    assert states(elsewhere)["tool"] == "missing"


@pytest.mark.usefixtures("store")
def test_what_installs_another_version_of_a_network_is_carried_too(make_store: MakeStore, tmp_path: Path) -> None:
    folder = {"published": {"chart.tar": {"module": "example.org/net", "path": "chart"}}}
    net = {**OTHER, **folder}
    here = make_store("cache", "system", tool=SYSTEM, net=net)
    component = here.lock.component["net"].as_published("0.9")
    made = tmp_path / "made"
    (made / "files").mkdir(parents=True)
    (made / "files" / "chart.tar").write_text("a chart")
    key = here.directory(component).name
    files = entries.describe(made / "files")
    entries.write(
        made, Entry(name="net", key=key, version="0.9", source="build", origin="x", stored=now(), files=files)
    )
    here.publish(made, here.directory(component))
    carry.export(here, tmp_path / "out.tar")
    there = make_store("cache", cache="there", tool=SYSTEM, net=net)
    assert {(one.name, one.version) for one in carry.import_(there, tmp_path / "out.tar")} == {
        ("tool", "1.5"), ("net", "0.9"),
    }  # fmt: skip
    lock = there.lock.model_copy(update={"component": {"net": component}})
    assert Store(there.cache, ("cache",), lock=lock).ensure(["net"])["net"].path.read_text() == "a chart"
