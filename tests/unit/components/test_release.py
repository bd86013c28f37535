from __future__ import annotations

import hashlib
import io
import socket
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.components.lock import architecture
from harness.components.sources.release import UNPINNED, Reach
from harness.components.store import Store
from harness.errors import PreflightError

MakeStore = Callable[..., Store]
Served = tuple[str, Path]


@pytest.fixture(autouse=True)
def _published_checksums_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UNPINNED, "1")


def release(
    url: str, files: dict[str, str] | None = None, checksum: str = "", digests: dict[str, str] | None = None
) -> dict[str, Any]:
    artefact = {
        "url": url,
        "checksum": checksum or f"{url}.sha256",
        "digests": digests or {},
        "files": files or {"tool": ""},
    }
    return {"release": {"artefacts": [artefact]}}


def put(directory: Path, name: str, content: bytes, checksum: str = "") -> None:
    (directory / name).write_bytes(content)
    (directory / f"{name}.sha256").write_text(checksum or hashlib.sha256(content).hexdigest())


def tar(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"./bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def refusal(store: Store) -> str:
    with pytest.raises(PreflightError) as caught:
        store.ensure(["tool"])
    assert not list(store.cache.rglob("files/*")), "a refused download left a file"
    return caught.value.cause


@pytest.mark.parametrize(
    "line", ["{sum}", "{sum}\n", "{sum}  tool\n", "{other}  different\n{sum} *tool\n", "{sum}  dist/tool\n"]
)
def test_a_program_with_the_published_checksum_is_taken(make_store: MakeStore, served: Served, line: str) -> None:
    url, directory = served
    published = line.format(sum=hashlib.sha256(b"program").hexdigest(), other="0" * 64)
    put(directory, "tool", b"program", published)
    found = make_store("release", tool=release(f"{url}/tool")).ensure(["tool"])["tool"]
    assert found.path.read_bytes() == b"program"
    assert found.path.stat().st_mode & 0o777 == 0o555


def test_a_pinned_digest_counts_and_not_what_is_published(make_store: MakeStore, served: Served) -> None:
    url, directory = served
    put(directory, "tool", b"program", hashlib.sha256(b"other").hexdigest())
    right, wrong = ({architecture(): hashlib.sha256(text).hexdigest()} for text in (b"program", b"other"))
    found = make_store("release", tool=release(f"{url}/tool", digests=right)).ensure(["tool"])["tool"]
    assert found.path.read_bytes() == b"program"
    cause = refusal(make_store("release", cache="another", tool=release(f"{url}/tool", digests=wrong)))
    assert f"but components.lock says {wrong[architecture()]}" in cause


def test_placeholders_become_version_and_architecture(make_store: MakeStore, served: Served) -> None:
    url, directory = served
    store = make_store("release", tool=release(f"{url}/tool-v{{version}}-{{arch}}"))
    component = store.lock.component["tool"]
    put(directory, component.fill("tool-v{version}-{arch}"), b"program")
    assert store.ensure(["tool"])["tool"].version == "1.0"


def test_wanted_members_of_an_archive_are_unpacked_and_no_others(make_store: MakeStore, served: Served) -> None:
    url, directory = served
    put(directory, "tool.tgz", tar(one=b"1", two=b"2", three=b"3"))
    store = make_store("release", tool=release(f"{url}/tool.tgz", {"one": "bin/one", "zwei": "./bin/two"}))
    found = store.ensure(["tool"])["tool"]
    assert found.files == ("one", "zwei")
    assert (found.directory / "zwei").read_bytes() == b"2"


def test_a_missing_member_is_named(make_store: MakeStore, served: Served) -> None:
    url, directory = served
    put(directory, "tool.tgz", tar(one=b"1"))
    store = make_store("release", tool=release(f"{url}/tool.tgz", {"one": "bin/one", "two": "bin/two"}))
    assert "the archive has no bin/two" in refusal(store)


def test_a_wrong_checksum_is_refused_with_both(make_store: MakeStore, served: Served) -> None:
    url, directory = served
    put(directory, "tool", b"forged", "a" * 64)
    cause = refusal(make_store("release", tool=release(f"{url}/tool")))
    assert hashlib.sha256(b"forged").hexdigest() in cause
    assert "a" * 64 in cause


@pytest.mark.parametrize(
    ("published", "reason"),
    [
        ("<html>not found</html>", "do not name tool"),
        ("0" * 64 + "  other\n", "do not name tool"),
        ("ab12", "not a SHA-256"),
    ],
)
def test_without_a_checksum_for_it_nothing_is_downloaded(
    make_store: MakeStore, served: Served, published: str, reason: str
) -> None:
    url, directory = served
    put(directory, "tool", b"program", published)
    assert reason in refusal(make_store("release", tool=release(f"{url}/tool")))


def test_a_download_that_ends_early_is_refused(make_store: MakeStore, served: Served) -> None:
    url, directory = served
    put(directory, "cut-tool", b"program")
    cause = refusal(make_store("release", tool=release(f"{url}/cut-tool")))
    assert "7 of 1007 bytes" in cause or "IncompleteRead" in cause


def test_a_missing_file_is_refused_with_the_status(make_store: MakeStore, served: Served) -> None:
    url, _ = served
    assert "404" in refusal(make_store("release", tool=release(f"{url}/tool")))


def test_a_host_that_does_not_answer_costs_one_short_attempt() -> None:
    # A listening socket with a full queue: connecting to it hangs, as with a firewall that drops.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(("127.0.0.1", port))
        reach = Reach(patience=0.2)
        start = time.monotonic()
        reasons = {reach.obstacle(f"http://127.0.0.1:{port}/{number}") for number in range(20)}
        elapsed = time.monotonic() - start
        for filler in fillers:
            filler.close()
    assert len(reasons) == 1
    assert "127.0.0.1 cannot be reached" in reasons.pop()
    assert elapsed < 1.0


def test_a_closed_port_is_refused_at_once(make_store: MakeStore) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    cause = refusal(make_store("release", tool=release(f"http://127.0.0.1:{port}/tool")))
    assert "127.0.0.1 cannot be reached: Connection refused" in cause


def test_a_program_that_does_not_run_here_is_refused(make_store: MakeStore, served: Served) -> None:
    url, directory = served
    put(directory, "tool", b"#!/bin/sh\necho 'libc.so.6: version GLIBC_9.9 not found' >&2\nexit 1\n")
    store = make_store("release", tool={**release(f"{url}/tool"), "probe": ["tool", "--version"]})
    assert "tool does not run here: libc.so.6: version GLIBC_9.9 not found" in refusal(store)
