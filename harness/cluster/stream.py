"""The exec subresource over a WebSocket (KEP-4006). Imports little: a process of its own needs it at once."""

from __future__ import annotations

import json
import socket
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import websocket

from harness import timeouts
from harness.cluster import http_proxy
from harness.cluster.access import Access
from harness.runner import CommandError

STDIN, STDOUT, STDERR, STATUS, CLOSE = 0, 1, 2, 3, 255
"""First byte of a message: which stream the rest belongs to; CLOSE names a stream that ends (protocol v5)."""

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
"""The newer one can end standard input, which programs that read to its end need."""

CONNECT: Final = 10.0
"""Seconds until the API server has the stream open, before scaling."""

CHUNK: Final = 32 * 1024


@dataclass(frozen=True)
class Place:
    """A container.

    Args:
        namespace: Of the pod.
        pod: Its name.
        container: Its name.
    """

    namespace: str
    pod: str
    container: str = "main"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.pod}"


class Stream:
    """A program in a container, while it runs.

    Args:
        access: The way to the cluster.
        tls: Its TLS context; made once and shared, because a context reads certificates.
        place: The container.
        argv: Program and arguments.
        stdin: It will be written to.

    Raises:
        CommandError: The API server did not open the stream.
    """

    def __init__(
        self, access: Access, tls: ssl.SSLContext | None, place: Place, argv: tuple[str, ...], *, stdin: bool
    ) -> None:
        path = f"/api/v1/namespaces/{place.namespace}/pods/{place.pod}/exec"
        query = [("container", place.container), ("stdout", "true"), ("stderr", "true")]
        query += [("stdin", "true")] if stdin else []
        query += [("command", word) for word in argv]
        url = access.server.replace("http", "ws", 1) + path + "?" + urllib.parse.urlencode(query)
        options: dict[str, Any] = {}

        def encrypted(connection: socket.socket, host: str) -> socket.socket:
            return tls.wrap_socket(connection, server_hostname=access.server_name or host) if tls else connection

        if tls is not None:
            options["sslopt"] = {"context": tls} | (
                {"server_hostname": access.server_name} if access.server_name else {}
            )
        try:
            self._socket = websocket.create_connection(
                url,
                timeout=timeouts.stretched(CONNECT),
                header=[f"{key}: {value}" for key, value in access.headers.items()],
                subprotocols=list(PROTOCOLS),
                enable_multithread=True,
                suppress_origin=True,
                **options,
                **http_proxy.of_websocket(access.server, access.proxy, encrypted, timeouts.stretched(CONNECT)),
            )
        except websocket.WebSocketBadStatusException as error:
            body = getattr(error, "resp_body", b"") or b""
            msg = f"the API server did not run a program in pod {place}: status {error.status_code}"
            raise CommandError(msg, cause=_message(body), where=" ".join(argv)) from error
        except (websocket.WebSocketException, OSError) as error:
            msg = f"no connection into pod {place}"
            raise CommandError(msg, cause=str(error) or type(error).__name__, where=" ".join(argv)) from error

    def write(self, data: bytes) -> None:
        """Send a part of standard input."""
        for start in range(0, len(data), CHUNK):
            self._socket.send_binary(bytes([STDIN]) + data[start : start + CHUNK])

    def end_input(self) -> None:
        """End standard input; with an old API server the program never sees it end."""
        if self._socket.getsubprotocol() == PROTOCOLS[0]:
            self._socket.send_binary(bytes([CLOSE, STDIN]))

    def messages(self, deadline: float | None = None) -> Iterator[tuple[int, bytes]]:
        """Stream and data, message by message, to the end.

        Args:
            deadline: Of `time.monotonic`; None: as long as it takes.

        Raises:
            TimeoutError: The deadline passed.
        """
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            try:
                kind, data = self._socket.recv_data()
            except websocket.WebSocketTimeoutException as error:
                raise TimeoutError from error
            except (websocket.WebSocketConnectionClosedException, ConnectionError, ssl.SSLError):
                return
            if kind == websocket.ABNF.OPCODE_CLOSE:
                return
            if data:
                yield data[0], data[1:]

    def close(self) -> None:
        """Leave; the program may go on."""
        self._socket.shutdown()  # type: ignore[no-untyped-call]


def _message(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.splitlines()[0] if text else ""


def exit_status(status: bytes) -> tuple[int, str]:
    """Exit code and message of the Status object that ends a stream.

    Args:
        status: The object as JSON; empty when the connection broke before it came.
    """
    if not status:
        return 255, "the connection ended before the program did"
    try:
        document = json.loads(status)
    except ValueError:
        return 255, status.decode(errors="replace")
    if document.get("status") == "Success":
        return 0, ""
    causes = (document.get("details") or {}).get("causes") or ()
    codes = [cause.get("message", "") for cause in causes if cause.get("reason") == "ExitCode"]
    # Without an exit code the runtime could not start the program: a shell says 127 then.
    return (int(codes[0]) if codes else 127), str(document.get("message", ""))
