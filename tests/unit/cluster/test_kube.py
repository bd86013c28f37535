from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3

from harness import timeouts
from harness.cluster.kube import ApiError, Kube
from harness.cluster.transport import Transport, transport
from harness.errors import BringUpError


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (("v1", "Pod", "labs", "a"), "/api/v1/namespaces/labs/pods/a"),
        (("v1", "Pod"), "/api/v1/pods"),
        (("v1", "Node", "ignored", "n1"), "/api/v1/nodes/n1"),
        (("apps/v1", "DaemonSet", "kube-flannel"), "/apis/apps/v1/namespaces/kube-flannel/daemonsets"),
        (("v1", "Pod", "labs", "../x?y"), "/api/v1/namespaces/labs/pods/..%2Fx%3Fy"),
    ],
)
def test_paths_of_objects_and_collections(arguments: tuple[str, ...], path: str) -> None:
    assert Kube(Path("/nonexistent")).path(*arguments) == path


def test_an_object_without_a_namespace_belongs_to_default() -> None:
    assert Kube(Path("/nonexistent")).path_of({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}) == (
        "/api/v1/namespaces/default/services/web"
    )


class Server(Kube):
    """Answers discovery; counts requests."""

    def __init__(self, groups: dict[str, Any]) -> None:
        super().__init__(Path("/nonexistent"))
        self.groups = groups
        self._transport = Transport("https://127.0.0.1:1", urllib3.PoolManager(), {})

    def raw(self, method: str, path: str, body: Any = None, **_: Any) -> Any:
        del method, body
        self.requests += 1
        if path not in self.groups:
            msg = f"GET {path}: not found"
            raise ApiError(404, msg, "not found")
        return {"resources": self.groups[path]}


GADGETS = [
    {"name": "gadgets", "kind": "Gadget", "namespaced": True},
    {"name": "gadgets/status", "kind": "Gadget", "namespaced": True},
    {"name": "factories", "kind": "Factory", "namespaced": False},
]


def test_a_kind_that_is_not_known_is_asked_for_once() -> None:
    server = Server({"/apis/example.org/v1": GADGETS})
    assert server.path("example.org/v1", "Gadget", "labs", "a") == "/apis/example.org/v1/namespaces/labs/gadgets/a"
    assert server.path("example.org/v1", "Factory", "ignored", "f") == "/apis/example.org/v1/factories/f"
    assert server.requests == 1
    assert server.path("v1", "Pod", "labs", "a") == "/api/v1/namespaces/labs/pods/a"
    assert server.requests == 1


def test_a_kind_that_the_server_does_not_have_is_an_error_and_asked_for_again() -> None:
    server = Server({})
    with pytest.raises(BringUpError, match=r"the API server has no kind Gadget in example\.org/v1"):
        server.path("example.org/v1", "Gadget")
    server.groups["/apis/example.org/v1"] = GADGETS
    assert server.path("example.org/v1", "Gadget") == "/apis/example.org/v1/gadgets"


def test_a_kubeconfig_that_names_files_needs_no_official_client(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', certificate-authority: ca.crt}}]\n"
        "users: [{name: u, user: {client-certificate: u.crt, client-key: u.key}}]\n",
        encoding="utf-8",
    )
    way = transport(kubeconfig)
    assert (way.server, dict(way.headers)) == ("https://127.0.0.1:1", {})
    assert way.pool.connection_pool_kw["cert_file"] == str(tmp_path / "u.crt")


def test_a_token_of_any_other_kubeconfig_is_sent(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:2'}}]\n"
        "users: [{name: u, user: {token: secret}}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\n",
        encoding="utf-8",
    )
    way = transport(kubeconfig)
    assert way.server == "https://127.0.0.1:2"
    assert way.headers["authorization"] == "Bearer secret"


class Pool:
    """Keeps the last request's deadlines."""

    def __init__(self, said: str = "{}", spoken: str = "application/json") -> None:
        self.timeout = urllib3.Timeout()
        self.said = said
        self.spoken = spoken

    def request(self, method: str, url: str, **more: Any) -> SimpleNamespace:
        del method, url
        self.timeout = more["timeout"]
        return SimpleNamespace(status=200, data=self.said.encode(), headers={"Content-Type": self.spoken})


def test_a_slow_machine_stretches_the_handshake_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool()
    api = Kube(tmp_path / "kubeconfig")
    monkeypatch.setattr(api, "_way", lambda: SimpleNamespace(server="https://x", headers={}, pool=pool))
    with timeouts.paced(6):
        assert api.raw("GET", "/version") == {}
    assert pool.timeout.connect_timeout == 6 * timeouts.CONNECT


@pytest.mark.parametrize("said", ['{"level": "info"}\n{"level":"warn"}\n', '{"level":  "info"}\n', "[a] b\n", ""])
def test_a_log_is_text_whatever_it_looks_like(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """etcd logs in JSON: two lines of it were no JSON, and its log could not be collected."""
    api = Kube(tmp_path / "kubeconfig")
    way = SimpleNamespace(server="https://x", headers={}, pool=Pool(said, "text/plain; charset=utf-8"))
    monkeypatch.setattr(api, "_way", lambda: way)
    assert api.logs("kube-system", "etcd-n1") == said
