"""Which failures of a connection time does not heal, however a library wraps them."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
import urllib3
from docker.errors import DockerException
from websocket import WebSocketException

from harness.connection import lasting


def verification(message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.verify_message = message
    return error


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] {reason.lower()} (_ssl.c:1006)")
    error.reason = reason
    return error


def of_kernel(number: int) -> OSError:
    return OSError(number, errno.errorcode[number])


LASTING = {
    "certificate": verification("Missing Authority Key Identifier"),
    "certificate of another name": urllib3.util.ssl_match_hostname.CertificateError("hostname 'a' doesn't match 'b'"),
    "own-certificate": tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"),
    "protocol": tls("WRONG_VERSION_NUMBER"),
    "name": socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    "permission": of_kernel(errno.EPERM),
    "proxy": OSError("Tunnel connection failed: 407 Proxy Authentication Required"),
    "address": UnicodeError("label empty or too long"),
    "file": PermissionError(errno.EACCES, "Permission denied", "/a/key"),
}
PASSING = {
    "refused": ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    "reset": ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    "end of file": ssl.SSLEOFError(8, "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol"),
    "silence": TimeoutError("timed out"),
    "no route yet": of_kernel(errno.EHOSTUNREACH),
    "no socket yet": of_kernel(errno.ENOENT),
    "name server away": socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    "gateway": OSError("Tunnel connection failed: 502 Bad Gateway"),
    "anything": ValueError("x"),
}


def wrapped(error: BaseException) -> list[BaseException]:
    """As libraries hand it on."""
    chained = RuntimeError("something failed")
    chained.__cause__ = error
    during = RuntimeError("and then")
    during.__context__ = chained
    return [
        error,
        urllib3.exceptions.SSLError(error),
        urllib3.exceptions.ProtocolError("Connection aborted.", error),
        urllib3.exceptions.MaxRetryError(
            urllib3.HTTPConnectionPool("x"), "/", error if isinstance(error, Exception) else None
        ),
        WebSocketException(error),
        DockerException(urllib3.exceptions.ProtocolError("Connection aborted.", error)),
        during,
    ]


@pytest.mark.parametrize("kind", LASTING)
def test_what_time_does_not_heal_is_found_in_every_wrapping(kind: str) -> None:
    for error in wrapped(LASTING[kind]):
        found = lasting(error, "the API server")
        assert found is not None, repr(error)
        assert found.kind == kind.split(" ", maxsplit=1)[0]
        assert "the API server" in found.what
        assert found.reason
        assert found.next_step


@pytest.mark.parametrize("name", PASSING)
def test_what_a_server_does_that_starts_is_worth_another_try(name: str) -> None:
    assert not [error for error in wrapped(PASSING[name]) if lasting(error, "the API server")]


def test_an_error_that_is_its_own_cause_is_looked_at_once() -> None:
    one, other = RuntimeError("a"), RuntimeError("b")
    one.__cause__, other.__cause__ = other, one
    assert lasting(one, "it") is None
