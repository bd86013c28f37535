"""Who holds a connection to a Service while packets come that do not belong into it, as plans and as records. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from conformance.inventory import Inventory, ServiceFact, Site
from conformance.pairs import first_pods

WHAT: Final = "strays"
"""Subject of the dumps: one of each pod that sends such packets."""

Way = tuple[Site, ServiceFact, Site]
"""Who connects, to which Service, and the pod behind it."""

Json = Mapping[str, Any]


def ways(inventory: Inventory) -> tuple[Way, ...]:
    """To each Service with a single endpoint: from another pod of the endpoint's node, and from the next node."""
    first = first_pods(inventory)
    sole = {one.endpoints[0]: one for one in inventory.services if one.role.startswith("sole-") and one.endpoints}
    found: list[Way] = []
    for number, server in enumerate(first):
        if server.name not in sole or not server.ip:
            continue
        local = [pod for pod in inventory.on(server.node) if pod.name != server.name][:1]
        remote = [pod for pod in (first[(number + 1) % len(first)],) if pod.node != server.node]
        found += [(client, sole[server.name], server) for client in (*local, *remote) if client.ip]
    return tuple(found)


def expected(inventory: Inventory) -> int:
    """How many ways there are when each Service with a single endpoint has it."""
    services = sum(one.role.startswith("sole-") for one in inventory.services)
    return services * (2 if len(inventory.nodes) > 1 else 1)


def held(rows: Any) -> Iterator[Json]:
    """Of a dump's rows, those about connections, as their clients saw them."""
    yield from (row for row in _rows(rows) if "client" in row)


def flows(rows: Any) -> Iterator[Json]:
    """Of a dump's rows, those about packets that were sent into connections, as their server saw them."""
    yield from (row for row in _rows(rows) if "client" not in row)


def seen_from(row: Json) -> str:
    """From where a server saw the connection of a client.

    Not always from where the client made it: where a packet to a Service would be told from one of another connection
    by nothing, once its destination is translated, the kernel gives it another source port (nf_nat).
    """
    return str(row.get("peer") or row.get("src") or "")


def _rows(rows: Any) -> list[Json]:
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
