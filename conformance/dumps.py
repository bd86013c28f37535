"""Reading dumps of the kernel: links, addresses, routes and sandboxes, in the form of iproute2's JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.context import Context, could_not
from conformance.legs import broken
from conformance.maths import inside
from harness.model.family import Family
from harness.model.records import Leg

Json = Mapping[str, Any]


def rows(data: Any) -> list[Json]:
    """The rows of a dump; empty when the command failed or was never run."""
    return [row for row in data if isinstance(row, Mapping) and row] if isinstance(data, Sequence) else []


def reason(*data: Any) -> str:
    """Why none of these answers of a kernel can be used; empty when one of them can.

    Args:
        data: Dumps, as the context has them: None where nothing was asked, `{"error": …}` where the command failed.
    """
    missing = [one for one in data if one is None or (isinstance(one, Mapping) and set(one) == {"error"})]
    if len(missing) < len(data):
        return ""
    said = (str(one["error"]) for one in missing if one)
    return "; ".join(dict.fromkeys(said)) or "it was not read"


def unread(leg: str, place: str, what: str, *data: Any) -> Leg:
    """A leg on which nothing can be said, because a kernel's answer is missing: the sentence says why.

    Args:
        leg: Its name.
        place: Whose kernel: a node or a pod.
        what: The subject of the dump.
        data: The answers that would have been used, those that failed among them.
    """
    failed = [one for one in data if reason(one)]
    return broken(leg, could_not(place, what, reason(*failed) if failed else "it was not in the answer"), "unread")


def links(context: Context, node: str) -> dict[str, Json]:
    """Links of a node by name, with their addresses."""
    return by_name(context.node_dump(node, "addr"))


def pod_links(context: Context, pod: str) -> dict[str, Json]:
    """Links of a pod by name, with their addresses."""
    return by_name(context.pod_dump(pod, "addr"))


def by_name(data: Any) -> dict[str, Json]:
    """Rows of `ip address`, by the links' names."""
    return {str(row.get("ifname")): row for row in rows(data)}


INET: Mapping[Family, str] = {"ipv4": "inet", "ipv6": "inet6"}
"""Families as iproute2 names them."""


def addresses(link: Json | None, *, family: str = "inet") -> list[str]:
    """Global addresses of a link, without prefix length."""
    infos = link.get("addr_info", ()) if link else ()
    return [
        str(info["local"])
        for info in infos
        if info.get("family") == family and info.get("scope") not in {"host", "link"} and "local" in info
    ]


def held(context: Context) -> Iterator[tuple[str, str]]:
    """Every global address of the family with its owner: `pod a` or `node n1`; loopback and link-local aside."""
    for site in context.inventory.pods:
        for link in pod_links(context, site.name).values():
            for address in addresses(link, family=INET[context.family]):
                yield address, f"pod {site.name} ({site.node})"
    for node in context.inventory.nodes:
        for link in links(context, node.name).values():
            for address in addresses(link, family=INET[context.family]):
                yield address, f"node {node.name}"


def kind(link: Json) -> str:
    """Kind of a link: veth, bridge, vxlan …; empty for a physical or unknown one."""
    return str((link.get("linkinfo") or {}).get("info_kind") or "")


def is_up(link: Json) -> bool:
    """Administratively up."""
    return "UP" in (link.get("flags") or ())


def conf_key(device: str, name: str, family: Family = "ipv4") -> str:
    """The sysctl of a device; a dot in its name is written as a slash, as sysctl(8) does."""
    return f"net.{family}.conf.{device.replace('.', '/')}.{name}"


def routes(context: Context, node: str) -> list[Json]:
    """Routes of a node's main table."""
    return [row for row in rows(context.node_dump(node, "route")) if row.get("table", "main") in {"main", 254, "254"}]


def pod_routes_to(context: Context, node: str, cidr: str) -> list[Json]:
    """Routes of a node to exactly that network, or to a part of it."""
    return [
        row
        for row in routes(context, node)
        if row.get("dst") not in {None, "default"} and _within(str(row["dst"]), cidr)
    ]


def _within(part: str, whole: str) -> bool:
    try:
        return inside(part, whole)
    except ValueError:
        return False


def sandboxes(context: Context, node: str) -> list[Json]:
    """Sandboxes of a node, as the runtime knows them."""
    return rows(context.node_dump(node, "sandboxes"))


def sandbox(context: Context, pod: str, namespace: str) -> Json | None:
    """A pod's sandbox; of several with that name the newest process."""
    found = [
        row
        for node in context.inventory.nodes
        for row in sandboxes(context, node.name)
        if row.get("pod") == pod and row.get("namespace") == namespace
    ]
    return max(found, key=lambda row: int(row.get("pid") or 0)) if found else None
