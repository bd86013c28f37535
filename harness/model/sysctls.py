"""Settings that a lab's networks count on, whatever the machine has.

A new network namespace copies `net.ipv4.conf.all` and `default` from the machine's first one (kernel,
Documentation/admin-guide/sysctl/net.rst, devconf_inherit_init_net): with `arp_ignore=8` from a hardening script no node
answers who has its address, and nothing says why.
"""

from __future__ import annotations

from collections.abc import Mapping

_INTERFACES = {
    "arp_announce": "0",
    "arp_filter": "0",
    "arp_ignore": "0",
    "drop_gratuitous_arp": "0",
    "drop_unicast_in_l2_multicast": "0",
    "ignore_routes_with_linkdown": "0",
    "proxy_arp": "0",
    "rp_filter": "0",
    "src_valid_mark": "0",
}

NETWORK: Mapping[str, str] = {
    **{f"?net/ipv4/conf/*/{name}": value for name, value in _INTERFACES.items()},
    "?net/ipv6/conf/*/disable_ipv6": "0",
}
"""Keys as of `Machine.sysctls`; the values are the kernel's own. A star stands for any interface."""

FORWARDING: Mapping[str, str] = {
    "net/ipv4/ip_forward": "1",
    "?net/ipv6/conf/all/forwarding": "1",
    # Who forwards takes no routes from router advertisements, unless it is told to (ip-sysctl.rst, accept_ra).
    "?net/ipv6/conf/*/accept_ra": "0",
}
"""Of nodes and of the router."""


FORWARDING_SWITCHES = tuple(key for key, value in FORWARDING.items() if value == "1")
"""What a machine that is no router has switched off."""


def files() -> list[str]:
    """Where a namespace shows what its interfaces will have."""
    return [path for key in NETWORK for path in _paths(key)]


def odd(lines: str) -> dict[str, str]:
    """Settings of a new namespace that are not as a lab's networks count on. Pure.

    Args:
        lines: `path:value`, as grep(1) says the content of `files` with their names.

    Returns:
        By key with slashes.
    """
    wanted = {path: value for key, value in NETWORK.items() for path in _paths(key)}
    found = (line.partition(":") for line in lines.splitlines())
    return {
        path.removeprefix("/proc/sys/"): value
        for path, _, value in found
        if value.strip() != wanted.get(path, value.strip())
    }


def _paths(key: str) -> list[str]:
    return [f"/proc/sys/{key.removeprefix('?').replace('*', which)}" for which in ("all", "default")]


def words() -> list[str]:
    """What `nodeinit settle` is told: key=value."""
    return [f"{key.removeprefix('?')}={value}" for key, value in NETWORK.items()]
