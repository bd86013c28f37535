"""Connections to Services into which packets are sent that do not belong there: who resets them?

The server's own place sends the packets, with a raw socket, and listens for what comes back. Its client holds the
connection, and asks again afterwards. The same is done to a connection to the pod's own address.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from conformance.families import inventory_of
from conformance.inventory import Inventory, Site
from conformance.strays import WHAT, Way, seen_from, ways
from harness import timeouts
from harness.model.family import endpoint
from harness.model.records import Dump
from harness.probes.agent import run_at
from harness.probes.plan import Prober
from harness.probes.running import Line, running
from harness.steps.suite.deploy import Suite

LASTS: Final = 1.0
"""Seconds for which a connection is held after the packets were sent, before scaling: a reset needs one round trip."""

PATIENCE: Final = 10.0
"""Seconds for a client's whole work, before scaling: nobody waits for them where answers come."""

LOOKS: Final = 2
"""Where packets could not be sent into a connection, or one to a pod was harmed, all is done once more."""

Requests = dict[Prober, list[dict[str, Any]]]


def observe_strays(suite: Suite) -> list[Dump]:
    """Hold the connections, send the packets, and tell what both ends saw.

    Args:
        suite: The deployed suite.
    """
    found = [way for family in suite.inventory.families for way in ways(inventory_of(suite.inventory, family))]
    if not found:
        return []
    rows: dict[str, list[dict[str, Any]]] = {}
    for _ in range(LOOKS):
        rows = _look(suite, found)
        if _met(rows):
            break
    return [_dump(suite.inventory, server, data) for server, data in rows.items()]


def _met(rows: Mapping[str, list[dict[str, Any]]]) -> bool:
    """Packets were sent into each connection that worked, and harmed none to a pod's own address."""
    return all(_sent_into(group) and _spared(server, group) for server, group in rows.items())


def _sent_into(group: Sequence[Mapping[str, Any]]) -> bool:
    worked = {seen_from(row) for row in group if row.get("before") == "ok"}
    return worked <= {row["src"] for row in group if row.get("sent")}


def _spared(server: str, group: Sequence[Mapping[str, Any]]) -> bool:
    reset = {row["src"] for row in group if row.get("resets")}
    own = [row for row in group if row.get("target") == server]
    return all(row["before"] == row["outcome"] == "ok" and seen_from(row) not in reset for row in own)


def _dump(there: Inventory, server: str, data: Any) -> Dump:
    node = there.by_name[server].node
    return Dump(batch="B3", vantage="pod", place=server, node=node, what=WHAT, data=data)


def _look(suite: Suite, found: list[Way]) -> dict[str, list[dict[str, Any]]]:
    """One look at all ways at the same time: a program run for each server and for each client."""
    servers: Requests = defaultdict(list)
    clients: Requests = defaultdict(list)
    asked: list[tuple[Site, str, Prober, str]] = []
    for client, service, server in found:
        own = endpoint(server.ip, server.port)
        at = suite.sites[server.name]
        if own not in {request["dial"] for request in servers[at]}:
            servers[at].append({"id": own, "kind": "stray", "dial": own})
        virtual = endpoint(service.cluster_ip, service.port("tcp").port)
        for target, dial in ((service.name, virtual), (server.name, own)):
            here = suite.sites[client.name]
            number = str(len(clients[here]))
            lasts = round(timeouts.scaled(LASTS) * 1000)
            clients[here].append({"id": number, "kind": "hold", "dial": dial, "size": 64, "for_ms": lasts})
            asked.append((server, target, here, number))
    with running(servers) as listening, ThreadPoolExecutor(len(clients), thread_name_prefix="strays") as pool:
        lines = dict(zip(clients, pool.map(lambda at: run_at(at, clients[at], PATIENCE), clients), strict=True))
    rows = {
        at.name: [row for one in requests for row in _flows(one["dial"], listening.line(at, one["id"]))]
        for at, requests in servers.items()
    }
    for server, target, here, number in asked:
        line = lines[here].get(number) or lines[here].get("failure") or {"outcome": "error", "detail": "no answer"}
        rows[server.name].append(_held(here.name, target, clients[here][int(number)]["dial"], line))
    return rows


def _flows(own: str, line: Line) -> list[dict[str, Any]]:
    """Connections to an address of the server's, as it saw them."""
    if line.get("outcome") != "ok":
        return [{"dst": own, "error": line.get("detail") or line.get("outcome")}]
    rows = line.get("flows") or ()
    return [
        {"dst": own, "src": row["peer"], "sent": row["sent"], "resets": row["resets"]}
        | ({"refused": row["error"]} if row.get("error") else {})
        for row in rows
    ]


def _held(client: str, target: str, dial: str, line: Line) -> dict[str, Any]:
    told = {key: line.get(key, "") for key in ("before", "outcome", "token", "detail")}
    ends = {"src": line.get("source", ""), "peer": line.get("peer", ""), "dst": dial}
    return {"client": client, "target": target, **ends, **told}
