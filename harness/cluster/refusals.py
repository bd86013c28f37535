"""What an API server refuses, or does not answer at all; and for how long that is worth another try."""

from __future__ import annotations

import json
import math
import re
from typing import Final

from harness import connection, timeouts
from harness.errors import BringUpError

_UNAUTHORIZED, _FORBIDDEN, _INTERNAL = 401, 403, 500

_PASSES: Final = {408, 409, 425, 429}
"""Statuses below 500 that ask for another try; all others of the kind say that the request itself is wrong."""

_NOT_READY: Final = re.compile(
    r"not yet ready to handle request|error looking up service account|status unknown for quota"
)
"""Admission plugins refuse objects with 403 until they know what they need."""


class ApiError(BringUpError):
    """The API server refused a request, or gave no answer.

    Args:
        status: HTTP status; 0 without an answer.
        what: One sentence.
        cause: The server's message, or why there was no answer.
        where: URL of the server.
        lasting: Why there was no answer, where time does not heal it.
    """

    def __init__(
        self, status: int, what: str, cause: str, *, where: str = "", lasting: connection.Lasting | None = None
    ) -> None:
        super().__init__(what, cause=cause, where=where, next_step=_next_step(status, lasting))
        self.status = status
        self.lasting = lasting

    @property
    def patience(self) -> float:
        """See `CnilabError.patience`.

        What servers of Kubernetes 1.34 said while they started, asked every few milliseconds: nothing, ends of
        connections in the middle of a handshake, and 500 until all hooks had run. Never 401: the authority of clients
        is read before the port is opened. 403 for about a second to whoever needs a role, also where the roles are as
        old as the cluster, and never to system:masters; and 403 of admission for a pod whose account is to come.
        """
        if self.status == 0:
            return 0.0 if self.lasting else math.inf
        if self.status == _FORBIDDEN:
            return math.inf if _NOT_READY.search(self.cause) else timeouts.ROLES_MADE
        return math.inf if self.status >= _INTERNAL or self.status in _PASSES else 0.0


def _next_step(status: int, lasting: connection.Lasting | None) -> str:
    if lasting is not None:
        return lasting.next_step
    if status != _UNAUTHORIZED:
        return ""
    return "fetch a fresh kubeconfig; for a cluster that cnilab made: 'cnilab down' and 'cnilab up'"


def unanswered(request: str, server: str, error: Exception) -> ApiError:
    """The error of a request that got no answer.

    Args:
        request: Method and path.
        server: URL.
        error: What the library raised.
    """
    lasting = connection.lasting(error, "the API server")
    if lasting is not None:
        return ApiError(0, f"{request}: {lasting.what}", lasting.reason, where=server, lasting=lasting)
    return ApiError(0, f"{request}: no answer from the API server", str(error), where=server)


def refused(request: str, server: str, status: int, body: bytes) -> ApiError:
    """The error of a request that was refused.

    Args:
        request: Method and path.
        server: URL.
        status: Of HTTP.
        body: A Status object, as a rule.
    """
    said = _message(body.decode(errors="replace"))
    return ApiError(status, f"{request}: the API server answered {status}", said, where=server)


def _message(text: str) -> str:
    """The message of a Status object, of a list of checks those that failed, or the first line of anything else."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        lines = [line for line in text.strip().splitlines() if line.strip()] or ["no explanation"]
        # /readyz and its like (apiserver/pkg/server/healthz): a line for each check, those that passed begin with [+].
        return "\n".join([line for line in lines if line.startswith("[-]")] or lines[:1])
