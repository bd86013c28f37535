"""What the client makes of a server that does not answer, or refuses: what time heals, and what it does not."""

from __future__ import annotations

import math
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import timeouts
from harness.cluster.kube import ApiError, Kube
from harness.cluster.pki import make_pki
from harness.cluster.refusals import refused, unanswered
from harness.errors import BringUpError, CnilabError
from tests.unit.cluster import servers
from tests.unit.cluster.servers import Reply

PKI = make_pki({}, ["127.0.0.1"])
ELSEWHERE = make_pki({}, ["127.0.0.1"])
OTHER_NAME = make_pki({}, ["k8s.example"])


def ask(folder: Path, port: int) -> ApiError:
    path = servers.kubeconfig(folder, f"https://127.0.0.1:{port}", PKI.ca.cert, PKI.admin)
    with pytest.raises(ApiError) as caught:
        Kube(path).raw("GET", "/readyz?exclude=much")
    return caught.value


REFUSALS: dict[str, Callable[[Path], Reply]] = {
    "another-authority": lambda folder: servers.over_tls(folder, ELSEWHERE.api_server, servers.http("200 OK", "ok")),
    "no-tls": lambda _: servers.http("400 Bad Request", "Client sent an HTTP request to an HTTPS server."),
    "credentials": lambda folder: servers.over_tls(
        folder, PKI.api_server, servers.http("401 Unauthorized", '{"kind": "Status", "message": "Unauthorized"}')
    ),
    "hang-up": lambda _: servers.hang_up,
    "starting": lambda folder: servers.over_tls(
        folder,
        PKI.api_server,
        servers.http("500 Internal Server Error", "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\nfailed"),
    ),
}
HEALS = {"hang-up", "starting"}


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_what_a_server_says_is_named_and_weighed(name: str, golden: Callable[[str, str], None], tmp_path: Path) -> None:
    with servers.serving(REFUSALS[name](tmp_path)) as port:
        error = ask(tmp_path, port)
    assert error.patience == (math.inf if name in HEALS else 0)
    # Reasons of OpenSSL carry a line of its source, and say the same of one thing in several ways.
    text = re.sub(r" \(_ssl\.c:\d+\)|\[SSL\] |:\d+", "", str(error)).replace(
        "record layer failure", "wrong version number"
    )
    golden(f"cluster/refusals/{name}.txt", f"{text}\n")


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    other = OTHER_NAME
    with servers.serving(servers.over_tls(tmp_path, other.api_server, servers.http("200 OK", "ok"))) as port:
        path = servers.kubeconfig(tmp_path, f"https://127.0.0.1:{port}", other.ca.cert, other.admin)
        with pytest.raises(ApiError, match="the certificate of the API server is not accepted") as caught:
            Kube(path).raw("GET", "/readyz")
    assert "mismatch" in caught.value.cause
    assert caught.value.patience == 0


def test_a_port_where_nobody_listens_may_have_somebody_soon(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = int(closed.getsockname()[1])
    error = ask(tmp_path, port)
    assert "Connection refused" in error.cause
    assert error.patience == math.inf


@pytest.mark.parametrize(
    ("status", "said", "patience"),
    [
        (401, "Unauthorized", 0.0),
        (403, 'nodes is forbidden: User "alice" cannot list resource "nodes"', timeouts.ROLES_MADE),
        (403, "pods is forbidden: not yet ready to handle request", math.inf),
        (403, 'pods "a" is forbidden: error looking up service account default/default: not found', math.inf),
        (404, "the server could not find the requested resource", 0.0),
        (409, "the object has been modified", math.inf),
        (422, "Invalid value", 0.0),
        (429, "too many requests", math.inf),
        (500, "etcdserver: leader changed", math.inf),
        (503, "the server is currently unable to handle the request", math.inf),
        (504, "Too large resource version", math.inf),
    ],
)
def test_how_long_a_refusal_is_worth_another_try(status: int, said: str, patience: float) -> None:
    assert refused("GET /x", "https://x", status, said.encode()).patience == patience


def test_a_key_that_may_not_be_read_is_no_trouble_of_the_connection() -> None:
    error = unanswered("GET /x", "https://x", PermissionError(13, "Permission denied", "/labs/a/client/admin.key"))
    assert "a certificate or a key for the API server cannot be read" in error.what
    assert "/labs/a/client/admin.key" in error.cause
    assert error.patience == 0


def test_a_wait_ends_at_once_where_the_certificate_is_not_accepted(tmp_path: Path) -> None:
    with servers.serving(REFUSALS["another-authority"](tmp_path)) as port:
        path = servers.kubeconfig(tmp_path, f"https://127.0.0.1:{port}", PKI.ca.cert, PKI.admin)
        api = Kube(path)
        with pytest.raises(ApiError, match="certificate of the API server is not accepted"):
            timeouts.wait_until("the API server to be ready", lambda: api.raw("GET", "/readyz"), timeouts.API_READY)
    assert api.requests == 1


def test_a_wait_whose_deadline_passes_says_what_it_saw_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with servers.serving(REFUSALS["starting"](tmp_path)) as port:
        path = servers.kubeconfig(tmp_path, f"https://127.0.0.1:{port}", PKI.ca.cert, PKI.admin)
        monkeypatch.setattr(timeouts, "CONNECT", 1000.0)
        monkeypatch.setattr(timeouts, "COMMAND", 1000.0)
        api = Kube(path)
        with timeouts.paced(0.005), pytest.raises(BringUpError) as caught:
            timeouts.wait_until("it", lambda: api.raw("GET", "/readyz", timeout=1000.0), 60.0)
    assert caught.value.cause.splitlines() == [
        "last seen: GET /readyz: the API server answered 500",
        "[-]etcd failed: reason withheld",
    ]
    assert isinstance(caught.value.__cause__, CnilabError)
