"""Fetching a file over HTTP: whole or not at all, tried twice, and never in the clear after a redirect."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from harness.components.lock import encrypted
from harness.components.sources.base import Desk

IDLE = 30.0
"""Seconds without a byte after which a download counts as broken."""

ATTEMPTS = 2
_CHUNK = 1 << 20

NETWORK_ERRORS: Final = (OSError, http.client.HTTPException)


class BadDownloadError(Exception):
    """A download that did not give what was promised."""


class _BadRedirectError(BadDownloadError):
    """A host that sends on to where nothing is encrypted."""


class _Encrypted(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but none that leads into the clear."""

    def redirect_request(self, req: urllib.request.Request, *rest: Any) -> urllib.request.Request | None:
        """See the base class; the last argument is where to."""
        target = str(rest[-1])
        if not encrypted(target) or (req.full_url.startswith("https:") and not target.startswith("https:")):
            msg = f"redirected to {target}, which is not encrypted"
            raise _BadRedirectError(msg)
        return super().redirect_request(req, *rest)


def opened(url: str) -> http.client.HTTPResponse:
    """The answer to a request; redirects are followed, but none into the clear."""
    opener = urllib.request.build_opener(_Encrypted())
    response: http.client.HTTPResponse = opener.open(url, timeout=IDLE)
    return response


def download(url: str, target: Path, desk: Desk) -> str:
    """Fetch a file whole; returns its SHA-256.

    Args:
        url: Of the file.
        target: Where it is written.
        desk: Told how far it is; may cancel.

    Raises:
        BadDownloadError: It did not come whole, or was to come in the clear.
        OSError: It is not available.
        http.client.HTTPException: Likewise.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _download_once(url, target, desk)
        except (BadDownloadError, *NETWORK_ERRORS) as error:
            if attempt == ATTEMPTS or isinstance(error, (urllib.error.HTTPError, _BadRedirectError)):
                raise
            desk.say(f"{error}; trying again")
    raise AssertionError


def _download_once(url: str, target: Path, desk: Desk) -> str:
    digest = hashlib.sha256()
    done = 0
    with opened(url) as response, target.open("wb") as file:
        total = int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(_CHUNK):
            desk.check()
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            of = f" of {total >> 20}" if total else ""
            desk.say(f"{done >> 20}{of} MiB of {url.rsplit('/', 1)[-1]}")
    if total and done != total:
        msg = f"ended after {done} of {total} bytes"
        raise BadDownloadError(msg)
    return digest.hexdigest()
