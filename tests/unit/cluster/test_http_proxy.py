"""The proxy of an API server is the one that kubectl would take."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cluster import contexts, http_proxy
from harness.cluster.execute import PodRunner
from harness.cluster.kube import ApiError, Kube
from harness.cluster.pki import Authority
from harness.cluster.stream import STDOUT, Place
from harness.cluster.transport import reach, transport
from harness.errors import UsageError
from harness.runner import CommandError
from tests.socks5 import Socks
from tests.tunnel import Tunnel
from tests.unit.cluster.test_stream import DONE, Server, message

PROXY = "http://proxy.test:3128"

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: x
clusters: [{name: c, cluster: {server: 'SERVER' MORE}}]
users: [{name: u, user: {token: secret}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
"""


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("server", "environ", "url"),
    [
        ("https://api.test:6443", {}, ""),
        ("https://api.test:6443", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://api.test:6443", {"https_proxy": PROXY}, PROXY),
        ("https://api.test:6443", {"HTTPS_PROXY": PROXY, "https_proxy": "http://other.test"}, PROXY),
        ("https://api.test:6443", {"HTTPS_PROXY": "proxy.test:3128"}, PROXY),
        ("https://api.test:6443", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, ""),
        ("http://api.test", {"HTTP_PROXY": PROXY}, PROXY),
        # Loopback, whatever the variables say: a lab's own server, and kind's.
        ("https://127.0.0.1:40001", {"HTTPS_PROXY": PROXY, "NO_PROXY": "example.com"}, ""),
        ("https://127.8.8.8:40001", {"HTTPS_PROXY": PROXY}, ""),
        ("https://localhost:40001", {"HTTPS_PROXY": PROXY}, ""),
        ("https://[::1]:40001", {"HTTPS_PROXY": PROXY}, ""),
    ],
)
def test_variables_name_it_as_for_kubectl(server: str, environ: dict[str, str], url: str) -> None:
    assert http_proxy.chosen(server, "", environ) == url


@pytest.mark.parametrize(
    ("server", "spared", "through"),
    [
        ("https://api.test:6443", "*", False),
        ("https://api.test:6443", "test", False),
        ("https://api.test:6443", ".test", False),
        ("https://api.test:6443", "*.test", False),
        ("https://test:6443", ".test", True),
        ("https://api.test:6443", "pi.test", True),
        ("https://API.test:6443", " other , Api.Test ", False),
        ("https://api.test:6443", "api.test:443", True),
        ("https://api.test:6443", "api.test:6443", False),
        ("https://192.0.2.7:6443", "192.0.2.0/24", False),
        ("https://192.0.2.7:6443", "192.0.3.0/24", True),
        ("https://192.0.2.7:6443", "192.0.2.7", False),
        ("https://192.0.2.7:6443", "192.0.2.7:443", True),
        ("https://[2001:db8::7]:6443", "2001:db8::/32", False),
        ("https://[2001:db8::7]:6443", "2001:db8::7", False),
        ("https://[2001:db8::7]:6443", "[2001:db8::7]:6443", False),
        ("https://api.test:6443", "not/a/range", True),
        ("https://api.test:6443", "", True),
    ],
)
def test_no_proxy_is_read_as_by_kubectl(server: str, spared: str, through: bool) -> None:
    assert bool(http_proxy.chosen(server, "", {"HTTPS_PROXY": PROXY, "no_proxy": spared})) == through


def test_what_the_kubeconfig_names_decides_alone() -> None:
    environ = {"HTTPS_PROXY": "http://other.test", "NO_PROXY": "*"}
    assert http_proxy.chosen("https://127.0.0.1:6443", PROXY, environ) == PROXY


@pytest.mark.parametrize(
    "url", ["socks4://proxy.test:1080", "https://proxy.test", "http://", "http://[x", "http://a:b"]
)
def test_a_proxy_that_is_not_spoken_to_is_refused_by_name(url: str) -> None:
    with pytest.raises(UsageError, match="HTTPS_PROXY: this proxy cannot be used"):
        http_proxy.chosen("https://api.test", "", {"HTTPS_PROXY": url})


def test_a_login_is_part_of_the_url() -> None:
    proxy = http_proxy.parse("http://me:a%40b@proxy.test")
    assert proxy == http_proxy.Proxy("proxy.test", 80, ("me", "a@b"))
    assert proxy.headers == {"Proxy-Authorization": "Basic bWU6YUBi"}


def written(path: Path, server: str, more: str = "") -> Path:
    path.write_text(KUBECONFIG.replace("SERVER", server).replace(" MORE", f", {more}" if more else ""))
    return path


def test_a_program_in_a_pod_is_reached_through_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(message(STDOUT, "hello"), DONE)
    port = server.listener.getsockname()[1]
    with Tunnel({"api.test:80": port}, login="Basic bWU6YUBi") as tunnel:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:a%40b@127.0.0.1:{tunnel.port}")
        access = contexts.load(written(tmp_path / "config", "http://api.test:80"))
        done = PodRunner(access, Place("team-a", "a")).run(["echo"])
    server.close()
    assert done.stdout == "hello"
    assert tunnel.asked == ["CONNECT api.test:80 HTTP/1.1"]


@pytest.mark.parametrize("login", [None, ("me", "a@b")])
def test_socks_leads_to_a_program_in_a_pod_and_to_the_api(login: tuple[str, str] | None, tmp_path: Path) -> None:
    server = Server(message(STDOUT, "hello"), DONE)
    port = server.listener.getsockname()[1]
    with Socks({"api.test:80": port}, login) as proxy:
        words = "me:a%40b@" if login else ""
        more = f"proxy-url: 'socks5://{words}127.0.0.1:{proxy.port}'"
        access = contexts.load(written(tmp_path / "config", "http://api.test", more))
        assert PodRunner(access, Place("team-a", "a")).run(["echo"]).stdout == "hello"
        server.close()
        assert proxy.asked == ["api.test:80"], "the name is the proxy's to look up"
        assert reach(access).pool.connection_pool_kw["_socks_options"]["username"] == (login[0] if login else None)


def test_requests_and_programs_go_through_socks_encrypted(tmp_path: Path) -> None:
    authority = Authority("test")
    pair = authority.issue("api", names=["api.test"])
    (tmp_path / "pair").write_text(pair.key + pair.cert)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair")
    (tmp_path / "ca").write_text(authority.cert)
    server = Server(message(STDOUT, "hello"), DONE, tls=context)
    with Socks({"api.test:6443": server.listener.getsockname()[1]}) as proxy:
        more = f"proxy-url: 'socks5h://127.0.0.1:{proxy.port}', certificate-authority: '{tmp_path}/ca'"
        access = contexts.load(written(tmp_path / "config", "https://api.test:6443", more))
        assert PodRunner(access, Place("team-a", "a")).run(["echo"]).stdout == "hello"
        server.close()
        assert proxy.asked == ["api.test:6443"]


def test_a_socks_proxy_that_knows_no_way_says_so(tmp_path: Path) -> None:
    with Socks({}) as proxy:
        more = f"proxy-url: 'socks5://127.0.0.1:{proxy.port}'"
        access = contexts.load(written(tmp_path / "config", "http://api.test", more))
        with pytest.raises(CommandError, match="no connection into pod team-a/a") as caught:
            PodRunner(access, Place("team-a", "a")).run(["echo"])
        assert "Host unreachable" in caught.value.cause
        with pytest.raises(ApiError) as refused:
            Kube(tmp_path / "config", access=access).raw("GET", "/version", timeout=5.0)
        assert "Host unreachable" in refused.value.cause


def test_loopback_is_reached_directly_whatever_the_variables_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(message(STDOUT, "hello"), DONE)
    with Tunnel({}) as tunnel:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{tunnel.port}")
        monkeypatch.setenv("NO_PROXY", "example.com")
        monkeypatch.setenv("no_proxy", "example.com")
        access = contexts.load(written(tmp_path / "config", f"http://127.0.0.1:{server.listener.getsockname()[1]}"))
        assert PodRunner(access, Place("team-a", "a")).run(["echo"]).stdout == "hello"
    server.close()
    assert tunnel.asked == []


def test_the_kubeconfigs_own_proxy_is_used_for_a_name_that_variables_spare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(message(STDOUT, "hello"), DONE)
    with Tunnel({"api.test:80": server.listener.getsockname()[1]}) as tunnel:
        monkeypatch.setenv("no_proxy", "*")
        more = f"proxy-url: 'http://127.0.0.1:{tunnel.port}'"
        access = contexts.load(written(tmp_path / "config", "http://api.test:80", more))
        assert PodRunner(access, Place("team-a", "a")).run(["echo"]).stdout == "hello"
    server.close()


def test_a_proxy_that_asks_who_is_there_is_told_of_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Tunnel({}, login="Basic x") as tunnel:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{tunnel.port}")
        access = contexts.load(written(tmp_path / "config", "http://api.test:80"))
        with pytest.raises(CommandError) as caught:
            PodRunner(access, Place("team-a", "a")).run(["echo"])
    assert "407" in caught.value.cause


def test_requests_go_through_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    access = contexts.load(written(tmp_path / "config", "https://api.test:6443"))
    pool = reach(access).pool
    assert pool.proxy is not None
    assert pool.proxy.url == PROXY
    assert reach(replace(access, proxy="")).pool.proxy is None


def test_the_official_client_goes_where_kubectl_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, PROXY)
    assert transport(written(tmp_path / "here", "https://127.0.0.1:6443")).pool.proxy is None
    far = transport(written(tmp_path / "there", "https://api.test:6443")).pool.proxy
    assert far is not None
    assert far.url == PROXY


def test_a_labs_own_client_never_takes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    (tmp_path / "kubeconfig").write_text(
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', certificate-authority: ca.crt}}]\n"
        "users: [{name: u, user: {client-certificate: u.crt, client-key: u.key}}]\n"
    )
    assert Kube(tmp_path / "kubeconfig")._way().pool.proxy is None
