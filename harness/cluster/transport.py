"""How requests reach an API server: a lab's own, or the one of any kubeconfig, through proxies where one is named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from harness import yamlio
from harness.cluster import http_proxy
from harness.cluster.access import Access

_CONNECTIONS = 16


@dataclass(frozen=True)
class Transport:
    """How requests reach an API server.

    Args:
        server: URL without a path.
        pool: Connections with the right certificates.
        headers: Sent with every request: a bearer token, when that is how the user signs on.
    """

    server: str
    pool: urllib3.PoolManager
    headers: Mapping[str, str]


def transport(kubeconfig: Path) -> Transport:
    """The way to the cluster that a kubeconfig names.

    A kubeconfig of ours, which names certificate files, is read here: importing the official client costs a second of
    processor time, a tenth of a whole bring-up. It never leads through a proxy: a lab's server is on loopback. Any
    other goes to the official client, which knows all of them: tokens, embedded keys, exec plugins.

    Args:
        kubeconfig: The file.
    """
    document = yamlio.loads(kubeconfig.read_text(encoding="utf-8"))
    try:
        (cluster,), (user,) = document["clusters"], document["users"]
        folder = kubeconfig.parent
        pool = urllib3.PoolManager(
            cert_reqs="CERT_REQUIRED",
            ca_certs=str(folder / cluster["cluster"]["certificate-authority"]),
            cert_file=str(folder / user["user"]["client-certificate"]),
            key_file=str(folder / user["user"]["client-key"]),
            maxsize=_CONNECTIONS,
        )
    except (KeyError, TypeError, ValueError):
        return _official_transport(kubeconfig)
    return Transport(cluster["cluster"]["server"], pool, {})


def reach(access: Access) -> Transport:
    """The way to a cluster that is not ours.

    Args:
        access: From its kubeconfig.
    """
    more: dict[str, Any] = {"maxsize": _CONNECTIONS, "ssl_context": access.tls()}
    if access.server_name:
        more |= {"assert_hostname": access.server_name, "server_hostname": access.server_name}
    return Transport(
        access.server, _through(access.proxy, more) if access.proxy else urllib3.PoolManager(**more), access.headers
    )


def _through(url: str, more: dict[str, Any]) -> urllib3.PoolManager:
    proxy = http_proxy.parse(url)
    if proxy.socks:
        from urllib3.contrib.socks import SOCKSProxyManager  # noqa: PLC0415 - few need it

        return SOCKSProxyManager(proxy.url, **more)
    return urllib3.ProxyManager(proxy.url, proxy_headers=proxy.headers, **more)


def _official_transport(kubeconfig: Path) -> Transport:
    from kubernetes import client, config  # noqa: PLC0415 - a second of processor time; see transport

    facts: Any = client.Configuration()
    config.load_kube_config(  # type: ignore[no-untyped-call]
        config_file=str(kubeconfig), client_configuration=facts
    )
    # It reads the variables for proxies otherwise than kubectl does: through them to loopback, too.
    through = http_proxy.chosen(facts.host, _proxy_url(kubeconfig), os.environ)
    proxy = http_proxy.parse(through) if through else None
    facts.proxy, facts.no_proxy = (proxy.url if proxy else None), None
    facts.proxy_headers = proxy.headers if proxy else None
    api: Any = client.ApiClient(facts)
    headers: dict[str, str] = {}
    api.update_params_for_auth(headers, [], ["BearerToken"], None, None, None)
    return Transport(facts.host, api.rest_client.pool_manager, headers)


def _proxy_url(kubeconfig: Path) -> str:
    """What the cluster of a kubeconfig's context names as its proxy."""
    document = yamlio.loads(kubeconfig.read_text(encoding="utf-8"))
    context = next(one["context"] for one in document["contexts"] if one["name"] == document["current-context"])
    cluster = next(one["cluster"] for one in document["clusters"] if one["name"] == context["cluster"])
    return str(cluster.get("proxy-url") or "")
