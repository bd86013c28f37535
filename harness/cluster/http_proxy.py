"""Which proxy leads to an API server: what kubectl does with HTTPS_PROXY, NO_PROXY and a kubeconfig's `proxy-url`.

client-go leaves the variables to Go's net/http (golang.org/x/net/http/httpproxy), which is followed here: capitals
first, loopback never by a variable, and NO_PROXY as addresses, ranges, and names with all below them. Programs disagree
about these variables (curl and Python's clients read them otherwise), so no client library gets to see them.
"""

from __future__ import annotations

import base64
import ipaddress
import socket
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.errors import UsageError

NOWHERE: Final = "proxy.invalid"
"""A name that nobody has (RFC 6761)."""

_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy that makes tunnels (CONNECT), or one that speaks SOCKS 5.

    Args:
        host: Name or address.
        port: Where it listens.
        login: User name and password; None where it asks for none.
        socks: It speaks SOCKS 5.
    """

    host: str
    port: int
    login: tuple[str, str] | None = None
    socks: bool = False

    @property
    def url(self) -> str:
        """For urllib3: an HTTP proxy's without the login, which is in `headers`."""
        place = f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
        if not self.socks:
            return f"http://{place}"
        words = [urllib.parse.quote(word, safe="") for word in self.login or ()]
        # With `h` names are the proxy's to look up, as Go has it for both.
        return f"socks5h://{':'.join(words)}@{place}" if words else f"socks5h://{place}"

    @property
    def headers(self) -> dict[str, str] | None:
        """What says who we are, as CONNECT wants it."""
        if not self.login or self.socks:
            return None
        return {"Proxy-Authorization": f"Basic {base64.b64encode(':'.join(self.login).encode()).decode()}"}


def chosen(server: str, configured: str, environ: Mapping[str, str]) -> str:
    """URL of the proxy for an API server; empty for none.

    Args:
        server: Its URL.
        configured: `proxy-url` of the kubeconfig's cluster, which decides alone.
        environ: Variables.

    Raises:
        UsageError: It is none that can be used.
    """
    found, where = (configured, "proxy-url of the kubeconfig") if configured else _by_variable(server, environ)
    if not found:
        return ""
    url = found if "://" in found else f"http://{found}"
    parse(url, where)
    return url


def parse(url: str, where: str = "proxy") -> Proxy:
    """A proxy by its URL.

    Args:
        url: `http://user:password@host:port`, or with `socks5` or `socks5h`.
        where: Where it is written, for the error.

    Raises:
        UsageError: It is of another kind, or no URL.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        parts, host, port = urllib.parse.urlsplit(""), None, 0
    if parts.scheme in {"http", "socks5", "socks5h"} and host:
        name, password = urllib.parse.unquote(parts.username or ""), urllib.parse.unquote(parts.password or "")
        return Proxy(host, port, (name, password) if name else None, socks=parts.scheme != "http")
    kind = f"it is a proxy of kind {parts.scheme}" if parts.scheme and host else "it is not a URL with a host"
    msg = f"{where}: this proxy cannot be used"
    step = "set an http:// or socks5:// proxy, or no proxy for this server: NO_PROXY, or 'proxy-url' in the kubeconfig"
    cause = f"{kind}; supported are http://, for https servers too (CONNECT), and socks5://"
    raise UsageError(msg, cause=cause, next_step=step)


def of_websocket(
    server: str, url: str, tls: Callable[[socket.socket, str], socket.socket], patience: float
) -> dict[str, Any]:
    """Options of websocket-client. Only with a proxy, and names that it is not for, it leaves the variables alone.

    Through SOCKS the connection is made here, since it would want a library of its own for that.

    Args:
        server: URL of the API server.
        url: Of the proxy; empty for none.
        tls: Makes a connection to a host an encrypted one, where the server wants that.
        patience: Seconds for connecting.

    Raises:
        OSError: The SOCKS proxy did not make the connection.
    """
    proxy = parse(url) if url else Proxy(NOWHERE, 1)
    if proxy.socks:
        parts = urllib.parse.urlsplit(server)
        host = parts.hostname or ""
        return {"socket": tls(_connected(proxy, host, parts.port or _PORTS[parts.scheme], patience), host)}
    return {
        "proxy_type": "http",
        "http_proxy_host": proxy.host,
        "http_proxy_port": proxy.port,
        "http_proxy_auth": proxy.login,
        "http_no_proxy": [NOWHERE if url else "*"],
    }


def _connected(proxy: Proxy, host: str, port: int, patience: float) -> socket.socket:
    import socks  # noqa: PLC0415 - few need it

    name, password = proxy.login or (None, None)
    found: socket.socket = socks.create_connection(
        (host, port),
        timeout=patience,
        proxy_type=socks.SOCKS5,
        proxy_addr=proxy.host,
        proxy_port=proxy.port,
        proxy_rdns=True,
        proxy_username=name,
        proxy_password=password,
    )
    return found


def _by_variable(server: str, environ: Mapping[str, str]) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(server)
    names = ("HTTPS_PROXY", "https_proxy") if parts.scheme == "https" else ("HTTP_PROXY", "http_proxy")
    where = next((name for name in names if environ.get(name)), "")
    spared = next((value for name in ("NO_PROXY", "no_proxy") if (value := environ.get(name))), "")
    if not where or not _goes_through(parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0), spared):
        return "", ""
    return environ[where].strip(), where


def _goes_through(host: str, port: int, spared: str) -> bool:
    """Whether a proxy named by a variable is for a server."""
    host = host.rstrip(".").lower()
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return False
    return not any(_spares(word.strip().lower(), host, address, port) for word in spared.split(",") if word.strip())


def _spares(word: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int) -> bool:
    """Whether one word of NO_PROXY is about a server."""
    if word == "*":
        return True
    if "/" in word:
        try:
            network = ipaddress.ip_network(word, strict=False)
        except ValueError:
            return False
        return address is not None and address.version == network.version and address in network
    name, _, number = word.rpartition(":")
    if name and number.isdigit() and _address(word) is None:
        if int(number) != port:
            return False
        word = name
    known = _address(word.strip("[]"))
    if known is not None or address is not None:
        return known == address
    if word.startswith("*."):
        word = word[1:]
    return host.endswith(word) if word.startswith(".") else host == word or host.endswith(f".{word}")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
