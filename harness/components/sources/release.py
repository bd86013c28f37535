"""Official releases, checked against the digests that the lock pins.

A checksum from the host that has the file says only that it came over whole. So what the lock pins no digest of is not
downloaded, unless the user says that the published checksum is enough: CNILAB_UNPINNED=1.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import tarfile
import threading
import urllib.parse
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import ClassVar

from harness.caller import says_yes
from harness.components.lock import Artefact, Component, Release, architecture
from harness.components.sources.base import Delivered, Desk, Refused, examine
from harness.components.sources.download import NETWORK_ERRORS, BadDownloadError, download, opened

CONNECT = 2.0
"""Seconds until a host counts as out of reach. A network without a way out often drops packets instead of refusing."""

_MOST = 1 << 20
"""Bytes of published checksums that are read: no file of them is longer."""

UNPINNED = "CNILAB_UNPINNED"
"""Variable of a user who takes a release by its published checksum alone."""


class Reach:
    """Which hosts can be reached: one short attempt each, remembered."""

    def __init__(self, patience: float = CONNECT) -> None:
        self._patience = patience
        self._known: dict[tuple[str, int], str] = {}
        self._locks: defaultdict[tuple[str, int], threading.Lock] = defaultdict(threading.Lock)

    def obstacle(self, url: str) -> str:
        """Why a URL's host, or the proxy that stands for it, is out of reach; empty when it can be reached."""
        parts = urllib.parse.urlsplit(url)
        proxy = urllib.request.getproxies().get(parts.scheme)
        if proxy and not urllib.request.proxy_bypass(parts.netloc):
            parts = urllib.parse.urlsplit(proxy)
        place = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        with self._locks[place]:
            if place not in self._known:
                self._known[place] = self._try(place)
            return self._known[place]

    def _try(self, place: tuple[str, int]) -> str:
        """Connect in a thread: looking a name up has no time-out of its own and may take half a minute."""
        outcome: list[str] = []

        def connect() -> None:
            try:
                socket.create_connection(place, timeout=self._patience).close()
                outcome.append("")
            except OSError as error:
                outcome.append(error.strerror or str(error))

        thread = threading.Thread(target=connect, daemon=True)
        thread.start()
        thread.join(self._patience)
        reason = outcome[0] if outcome else f"no answer within {self._patience:.0f} s"
        return f"{place[0]} cannot be reached: {reason}" if reason else ""


class ReleaseSource:
    """Downloads, checks, unpacks."""

    name: ClassVar[str] = "release"

    def __init__(self, reach: Reach | None = None) -> None:
        self._reach = reach or Reach()

    def deliver(self, component: Component, desk: Desk) -> Delivered | Refused:
        """See `Source.deliver`."""
        release = component.release
        if release is None:
            return Refused("the lock names no release with a published checksum")
        if refused := _unpinned(component, release):
            return refused
        for number, artefact in enumerate(release.artefacts):
            if refused := self._fetch(component, artefact, desk, desk.scratch / f"{number}.part"):
                return refused
        version = examine(component, desk)
        if isinstance(version, Refused):
            return version
        urls = " ".join(component.fill(artefact.url, release.version) for artefact in release.artefacts)
        return Delivered(release.version or version, urls)

    def _fetch(self, component: Component, artefact: Artefact, desk: Desk, archive: Path) -> Refused | None:
        version = component.release.version if component.release else ""
        url = component.fill(artefact.url, version)
        if obstacle := self._reach.obstacle(url):
            return Refused(obstacle)
        try:
            expected, witness = artefact.digests.get(architecture(), ""), "components.lock"  # type: ignore[call-overload]
            if not expected:
                witness = component.fill(artefact.checksum, version)
                expected = published(witness, url)
            found = download(url, archive, desk)
            if found != expected:
                return Refused(f"{url} has SHA-256 {found}, but {witness} says {expected}")
            _unpack(component, artefact, archive, desk)
        except (BadDownloadError, *NETWORK_ERRORS, tarfile.TarError) as error:
            return Refused(f"{url}: {error}")
        finally:
            archive.unlink(missing_ok=True)
        return None


def _unpinned(component: Component, release: Release) -> Refused | None:
    """Why a release may not be had by its published checksums alone; None where it may, or need not."""
    bare = [one.url for one in release.artefacts if architecture() not in one.digests]
    if not bare or says_yes(UNPINNED):
        return None
    url = component.fill(bare[0], release.version)
    remedy = f"set {UNPINNED}=1 to trust the checksum that is published beside a release"
    return Refused(f"the lock has no digest of {url}, so it is not downloaded", remedy)


def published(checksum: str, url: str) -> str:
    """The checksum of a file, as its project publishes it.

    Args:
        checksum: URL of the checksums.
        url: Of the file.

    Raises:
        BadDownloadError: There is none for that file, or the way there is not encrypted.
        OSError: It is not available.
        http.client.HTTPException: Likewise.
    """
    with opened(checksum) as response:
        return _named(response.read(_MOST).decode(errors="replace"), url)


def _named(text: str, url: str) -> str:
    """The checksum of one file.

    Args:
        text: A bare checksum, or lines `checksum  name` as sha256sum writes them.
        url: Of the file; its last part is the name.

    Raises:
        BadDownloadError: There is none for that file.
    """
    name = url.rsplit("/", 1)[-1]
    lines = [line.split() for line in text.splitlines() if line.strip()]
    for words in lines:
        if len(words) == 2 and words[1].removeprefix("*").rsplit("/", 1)[-1] == name:
            return _sha256(words[0])
    if len(lines) == 1 and len(lines[0]) == 1:
        return _sha256(lines[0][0])
    msg = f"the published checksums do not name {name}"
    raise BadDownloadError(msg)


def _sha256(text: str) -> str:
    if len(text) != hashlib.sha256().digest_size * 2 or not all(digit in "0123456789abcdef" for digit in text.lower()):
        msg = f"the published checksum is not a SHA-256: {text[:80]}"
        raise BadDownloadError(msg)
    return text.lower()


def _unpack(component: Component, artefact: Artefact, archive: Path, desk: Desk) -> None:
    """Take the wanted members and nothing else: names inside an archive never become paths here."""
    members = {name: component.fill(member) for name, member in artefact.files.items()}
    for name in (name for name, member in members.items() if not member):
        shutil.copyfile(archive, desk.files / name)
    wanted = {member.removeprefix("./"): name for name, member in members.items() if member}
    if not wanted:
        return
    with tarfile.open(archive) as tar:
        for info in tar:
            name = wanted.pop(info.name.removeprefix("./"), "")
            source = tar.extractfile(info) if name and info.isfile() else None
            if source is not None:
                with source, (desk.files / name).open("wb") as out:
                    shutil.copyfileobj(source, out)
    if wanted:
        msg = f"the archive has no {', '.join(sorted(wanted))}"
        raise BadDownloadError(msg)
