"""Whether a Docker engine makes networks with IPv6: it is tried, for no engine says so of itself."""

from __future__ import annotations

import secrets
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from harness.model.spec import MIN_IPV6_MTU
from harness.providers.kind.answers import EngineError
from harness.providers.kind.engine import Engine

_RANGES: Final = (IPv4Network("192.168.254.0/24"), IPv6Network("fd00:172:0:ffff::/64"))


def refuses_ipv6(engine: Engine) -> str:
    """Why the engine makes no network with IPv6, found by making one that is removed at once; empty when it does.

    Args:
        engine: Asked.

    Raises:
        EngineError: It cannot be removed.
    """
    try:
        subnets = [engine.free(one) for one in _RANGES]
        made = engine.make_network(f"cnilab-doctor-{secrets.token_hex(4)}", {}, MIN_IPV6_MTU, subnets)
    except EngineError as error:
        return error.cause or error.what
    engine.remove_network(made)
    return "" if made.subnet6 else "it leaves IPv6 away"
