"""Digests come into the lock from published checksums, over TLS alone, and its text stays otherwise as it was."""

from __future__ import annotations

import hashlib
import ssl
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness import resources
from harness.cli import app as entry
from harness.cluster.pki import Authority
from harness.components import pin
from harness.components.lock import Lock, architecture, load
from harness.components.sources.download import BadDownloadError
from harness.components.sources.release import UNPINNED, published
from harness.errors import SpecError
from tests.unit.components.conftest import MakeStore
from tests.unit.components.test_release import refusal

TEXT = """\
schema = 1

# Why it is here.
[component.other]
summary = "no release"
version = "1"
kind = "bin"
[component.other.system]
programs = { other = "other" }

[component.tool]
summary = "a tool"
version = "2.0"
minors = { "1.36" = "1.9" }
kind = "bin"

[component.tool.release]
[[component.tool.release.artefacts]]
url = "URL/{version}/tool-{arch}"
checksum = "URL/{version}/tool-{arch}.sha256"
files = { tool = "" }
[[component.tool.release.artefacts]]
url = "URL/more-{arch}"
checksum = "URL/{version}/SUMS"
digests = { arm64 = "ARM" }
others = { "1.9" = { arm64 = "ARM" } }
files = { more = "" }  # the last one
"""


@dataclass
class Site:
    """A web server on the loopback.

    Args:
        url: Where.
        pages: Path to text; `-> URL` sends on to there.
        asked: Paths that were asked for.
    """

    url: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


def certificate(folder: Path) -> tuple[Path, Path]:
    """An authority's certificate, and in another file a key and a certificate for 127.0.0.1 that it issued."""
    authority = Authority("site")
    pair = authority.issue("site", names=["127.0.0.1"])
    trusted, own = folder / "trusted.pem", folder / "site.pem"
    trusted.write_text(authority.cert)
    own.write_text(pair.key + pair.cert)
    return trusted, own


def serve(context: ssl.SSLContext | None) -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            text = site.pages.get(self.path, "")
            self.send_response(302 if text.startswith("-> ") else 200 if text else 404)
            if text.startswith("-> "):
                self.send_header("Location", text.removeprefix("-> "))
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        site.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    trusted, own = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    yield from serve(context)


@pytest.fixture
def clear() -> Iterator[Site]:
    yield from serve(None)


def digest(letter: str) -> str:
    return hashlib.sha256(letter.encode()).hexdigest()


def lock_text(site: Site) -> str:
    return TEXT.replace("URL", site.url).replace("ARM", digest("old"))


def test_published_checksums_are_written_into_the_lock(
    secure: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lock_text(secure)
    (tmp_path / "components.lock").write_text(before)
    monkeypatch.setattr(resources, "root", lambda: tmp_path)
    # A release often sends on to another host.
    secure.pages |= {
        "/2.0/tool-amd64.sha256": f"-> {secure.url}/elsewhere",
        "/elsewhere": digest("a"),
        "/2.0/tool-arm64.sha256": digest("b"),
        "/2.0/SUMS": f"{digest('c')}  more-amd64\n{digest('d')}  more-arm64\n",
        "/1.9/tool-amd64.sha256": digest("e"),
        "/1.9/tool-arm64.sha256": digest("f"),
        "/1.9/SUMS": f"{digest('g')}  more-amd64\n{digest('h')}  more-arm64\n",
    }
    assert entry.run(["components", "pin", "-o", "name"]) == 0
    after = (tmp_path / "components.lock").read_text()
    tool = Lock.model_validate(tomllib.loads(after)).component["tool"]
    assert tool.release
    assert [one.digests for one in tool.release.artefacts] == [
        {"amd64": digest("a"), "arm64": digest("b")},
        {"amd64": digest("c"), "arm64": digest("d")},
    ]
    older = tool.of_version("1.9").release
    assert older
    assert [one.digests for one in older.artefacts] == [
        {"amd64": digest("e"), "arm64": digest("f")},
        {"amd64": digest("g"), "arm64": digest("h")},
    ]
    lines = [line for line in after.splitlines() if not line.startswith(("digests", "others"))]
    assert lines == [line for line in before.splitlines() if not line.startswith(("digests", "others"))]
    capsys.readouterr()
    assert entry.run(["components", "pin", "-o", "json"]) == 0
    assert (tmp_path / "components.lock").read_text() == after
    assert capsys.readouterr().out.count('"keep"') == 8


def test_what_cannot_be_had_is_named_and_the_rest_is_written(
    secure: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "components.lock").write_text(lock_text(secure))
    monkeypatch.setattr(resources, "root", lambda: tmp_path)
    secure.pages["/2.0/tool-amd64.sha256"] = digest("a")
    assert entry.run(["components", "pin", "tool"]) == 10
    out = capsys.readouterr().out
    assert f"{secure.url}/2.0/tool-arm64.sha256: HTTP Error 404" in out
    tool = load(tmp_path / "components.lock").component["tool"]
    assert tool.release
    assert [one.digests for one in tool.release.artefacts] == [{"amd64": digest("a")}, {"arm64": digest("old")}]
    assert [one.others for one in tool.release.artefacts] == [{}, {"1.9": {"arm64": digest("old")}}]


def test_a_digest_that_changed_is_shown(secure: Site, tmp_path: Path) -> None:
    (tmp_path / "components.lock").write_text(lock_text(secure))
    secure.pages["/2.0/SUMS"] = f"{digest('c')}  more-amd64\n{digest('new')}  more-arm64\n"
    _, outcomes = pin.look(load(tmp_path / "components.lock"), ["tool"])
    assert [one.action for one in outcomes] == ["fail", "fail", "fail", "fail", "pin", "change", "fail", "fail"]


@pytest.mark.parametrize("hops", [1, 2])
def test_a_redirect_into_the_clear_is_refused(secure: Site, clear: Site, hops: int) -> None:
    clear.pages["/sum"] = digest("a")
    secure.pages |= {"/1": f"-> {clear.url}/sum", "/2": f"-> {secure.url}/1"}
    with pytest.raises(BadDownloadError, match="is not encrypted"):
        published(f"{secure.url}/{hops}", "https://example.test/tool")
    assert clear.asked == []


def test_a_download_that_is_sent_into_the_clear_is_refused_at_once(
    secure: Site, clear: Site, make_store: MakeStore
) -> None:
    secure.pages["/tool"] = f"-> {clear.url}/tool"
    artefact = {
        "url": f"{secure.url}/tool",
        "checksum": f"{secure.url}/tool.sha256",
        "digests": {architecture(): digest("a")},
        "files": {"tool": ""},
    }
    assert "is not encrypted" in refusal(make_store("release", tool={"release": {"artefacts": [artefact]}}))
    assert (secure.asked, clear.asked) == (["/tool"], [])


def test_a_host_that_nobody_vouches_for_is_not_listened_to(secure: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    secure.pages["/sum"] = digest("a")
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        published(f"{secure.url}/sum", "https://example.test/tool")


def test_the_user_decides_whether_a_published_checksum_is_enough(
    clear: Site, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear.pages |= {"/tool": "program", "/tool.sha256": digest("program")}
    artefact = {"url": f"{clear.url}/tool", "checksum": f"{clear.url}/tool.sha256", "files": {"tool": ""}}
    store = make_store("release", tool={"release": {"artefacts": [artefact]}})
    assert "the lock has no digest of" in refusal(store)
    assert clear.asked == []
    monkeypatch.setenv(UNPINNED, "1")
    assert store.ensure(["tool"])["tool"].path.read_bytes() == b"program"


def test_the_projects_own_lock_can_be_written() -> None:
    text = (resources.root() / "components.lock").read_text()
    lock = load()
    digests, outcomes = pin.look(lock, (), lambda _, url: digest(url))
    assert len(outcomes) == 2 * sum(map(len, digests.values()))
    again = Lock.model_validate(tomllib.loads(pin.written(text, digests)))
    for name, component in again.component.items():
        for number, artefact in enumerate(component.release.artefacts if component.release else ()):
            found = digests[name, number]
            assert {"": artefact.digests, **artefact.others} == found
            assert set(found) == {"", *component.minors.values()}


def test_digests_of_a_version_that_the_lock_does_not_have_are_refused(tmp_path: Path) -> None:
    text = TEXT.replace("URL", "https://example.test").replace("ARM", digest("old"))
    (tmp_path / "lock").write_text(text.replace('"1.9" = { arm64', '"1.8" = { arm64'))
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "lock")
    assert "has digests of 1.8, which `minors` does not name" in str(caught.value)
