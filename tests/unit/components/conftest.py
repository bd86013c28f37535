"""A store with sources that need neither network nor Go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.components.lock import Lock
from harness.components.store import Store
from harness.model.journal import Journal
from harness.model.records import Event


class _Quiet(SimpleHTTPRequestHandler):
    """Serves a directory; `cut-` files claim to be longer than they are."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        pass

    def end_headers(self) -> None:
        self.send_header("Connection", "close")
        super().end_headers()

    def send_header(self, keyword: str, value: str) -> None:
        if keyword == "Content-Length" and "/cut-" in self.path and not self.path.endswith(".sha256"):
            value = str(int(value) + 1000)
        super().send_header(keyword, value)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """URL and directory of a web server on this machine's loopback."""
    directory = tmp_path / "served"
    directory.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", directory
        server.shutdown()
        thread.join()


@pytest.fixture
def events() -> list[Event]:
    """What the store's journal got."""
    return []


MakeStore = Callable[..., Store]


@pytest.fixture
def make_store(tmp_path: Path, events: list[Event]) -> MakeStore:
    """Make a store of components given as keyword arguments."""

    def make(*sources: str, cache: str = "cache", **components: dict[str, Any]) -> Store:
        defaults = {"summary": "a test", "version": "1.0", "kind": "bin"}
        lock = Lock.model_validate(
            {"schema": 1, "component": {name: {**defaults, **table} for name, table in components.items()}}
        )
        return Store(tmp_path / cache, sources or None, Journal(None, events.append), lock=lock)

    return make


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put a script with a version on PATH."""
    directory = tmp_path / "on-path"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")

    def make(name: str, version: str) -> Path:
        path = directory / name
        path.write_text(f"#!/bin/sh\necho {name} version {version}\n")
        path.chmod(0o755)
        return path

    return make
