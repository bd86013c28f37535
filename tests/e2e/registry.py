"""A registry of images on this machine's loopback, and images in it under the names that networks' projects use.

The registry is the project's own program, built from its Go module (tests/registry). What is pushed was built here: the
names are the projects', the programs in these images need not be of the version that they say.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import timeouts
from harness.components import images, recipes
from harness.components.lock import architecture
from harness.components.sources import toolchain
from harness.components.store import Store
from harness.errors import NotYetError
from tests.e2e import stores

SOURCE = Path(__file__).parents[1] / "registry"

CONFIG = """\
version: 0.1
log: {{accesslog: {{disabled: true}}, level: error}}
storage: {{filesystem: {{rootdirectory: "{folder}"}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Build the registry and run it; yields its URL."""
    program = folder / "registry"
    store = stores.store()
    # A machine without Go has the pinned one in the cache: components were built with it.
    environment = {**os.environ, **toolchain.variables(store.cache, store.lock.go)}
    if shutil.which("go", path=environment["PATH"]) is None:
        pytest.skip("the registry is built from its Go module, and this machine has no Go")
    words = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(program), "."]
    subprocess.run(words, cwd=SOURCE, env={**environment, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}, check=True)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    config = folder / "config.yml"
    config.write_text(CONFIG.format(folder=folder / "data", port=port))
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log, subprocess.Popen([program, "serve", config], stdout=log, stderr=log) as it:
        try:
            timeouts.wait_until("the registry to answer", lambda: _answers(url), timeouts.COMMAND)
            yield url
        finally:
            it.terminate()


def _answers(url: str) -> bool:
    try:
        _ask("GET", f"{url}/v2/")
    except OSError as error:
        raise NotYetError(str(error)) from error
    return True


def _ask(
    method: str, url: str, body: Any = None, kind: str = "application/octet-stream", size: int = 0
) -> http.client.HTTPMessage:
    """One request; the headers of its answer, which must be a good one."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=120)
    headers = {"Content-Type": kind, **({"Content-Length": str(size)} if size else {})}
    connection.request(method, f"{parts.path}?{parts.query}", body, headers)
    answer = connection.getresponse()
    said = answer.read()
    assert answer.status < 300, f"{method} {url}: {answer.status} {said[:300]!r}"
    connection.close()
    return answer.headers


def made(store: Store, name: str, reference: str, folder: Path) -> Path:
    """An archive of one of this project's images under another name, as `docker save` would write it."""
    image = replace(recipes.find(store.lock, name), reference=reference)
    store.ensure(image.components)
    target = folder / f"{hashlib.sha256(reference.encode()).hexdigest()[:12]}.tar"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        images.write_archive(target, image, image.contents(store), Path(scratch))
    return target


def push(url: str, reference: str, archive: Path) -> str:
    """Put an image into the registry under its own repository and tag, as one of two architectures.

    Returns:
        Digest of the index, which is what the name stands for.
    """
    repository, _, tag = reference.partition("/")[2].rpartition(":")
    base = f"{url}/v2/{repository}"
    with tarfile.open(archive) as tar:
        manifest = json.loads(_read(tar, json.loads(_read(tar, "index.json"))["manifests"][0]))
        config = json.loads(_read(tar, manifest["config"]))
        for layer in manifest["layers"]:
            file = tar.extractfile(f"blobs/{layer['digest'].replace(':', '/')}")
            assert file is not None
            _put_blob(base, layer["digest"], file, layer["size"])
    other = {"amd64": "arm64", "arm64": "amd64"}[architecture()]
    listed = [_put_image(base, manifest, {**config, "architecture": one}) for one in (other, architecture())]
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).encode()
    _ask("PUT", f"{base}/manifests/{tag}", index, INDEX)
    return hashlib.sha256(index).hexdigest()


def _read(tar: tarfile.TarFile, what: str | dict[str, Any]) -> bytes:
    name = what if isinstance(what, str) else f"blobs/{what['digest'].replace(':', '/')}"
    file = tar.extractfile(name)
    assert file is not None, name
    return file.read()


def _put_blob(base: str, digest: str, body: Any, size: int) -> None:
    place = _ask("POST", f"{base}/blobs/uploads/")["Location"]
    _ask("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", body, size=size)


def _put_image(base: str, manifest: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(config).encode()
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
    _put_blob(base, digest, text, len(text))
    whole = json.dumps({**manifest, "config": {**manifest["config"], "digest": digest, "size": len(text)}}).encode()
    name = f"sha256:{hashlib.sha256(whole).hexdigest()}"
    _ask("PUT", f"{base}/manifests/{name}", whole, MANIFEST)
    platform = {"os": "linux", "architecture": config["architecture"]}
    return {"mediaType": MANIFEST, "digest": name, "size": len(whole), "platform": platform}
