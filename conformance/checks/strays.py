"""Packets that do not belong into a connection, and connections to Services that they must not harm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.checks.services import AFTER, VIP
from conformance.context import Context
from conformance.dumps import reason, unread
from conformance.inventory import Site
from conformance.legs import WORDS, broken, census, control, failed, passed, recorded, where
from conformance.model import Check, Verdict
from conformance.strays import WHAT, Way, expected, flows, held, seen_from, ways
from harness.model.family import endpoint
from harness.model.records import Evidence, Leg

Json = Mapping[str, Any]


def ct_invalid(context: Context) -> Verdict:
    """A packet out of its connection's window does not make a client reset its connection to a Service."""
    wanted = ways(context.inventory)
    legs: list[Leg] = []
    harmed: list[str] = []
    for client, service, server in wanted:
        read = context.attempt("pod", server.name, WHAT)
        name = f"{client.name}>{service.name}/tcp"
        if reason(read):
            legs.append(unread(name, server.name, WHAT, read))
            harmed.append(f"{where(server)} could not be asked")
            continue
        twin = _held(read, client, endpoint(server.ip, server.port))
        harmed += _harmed(server, read, twin, name)
        legs.append(_leg((client, service, server), read, name))
    return Verdict(
        tuple(legs),
        (
            census(len(legs), expected(context.inventory), "connections"),
            control(
                "P2",
                bool(legs) and not harmed,
                "; ".join(harmed[:2]) or f"{len(legs)} connections to pods were not harmed",
            ),
        ),
        _evidence(context, legs),
        summary=f"{len(legs)} connections to Services outlived packets that are out of their windows",
    )


def _held(read: Any, client: Site, dial: str) -> Json | None:
    return next((row for row in held(read) if (row["client"], row["dst"]) == (client.name, dial)), None)


def _virtual(read: Any, way: Way) -> Json | None:
    client, service, _ = way
    return _held(read, client, endpoint(service.cluster_ip, service.port("tcp").port))


def _flow(read: Any, one: Json) -> Json | None:
    """The same connection as its server saw it."""
    return next((row for row in flows(read) if row.get("src") and row.get("src") == seen_from(one)), None)


def _sent(read: Any, one: Json) -> int:
    return int((_flow(read, one) or {}).get("sent", 0))


def _harmed(server: Site, read: Any, twin: Json | None, name: str) -> list[str]:
    """What became of the connection to the pod's own address, unless it still works and nobody reset it."""
    if twin is None:
        return [f"the probe did not report the connection to {server.name} beside {name}"]
    said = f"{twin['client']} to {where(server)} at {twin['dst']}"
    if twin["before"] != "ok":
        return [f"{said}: {twin['before']} at first {twin['detail']}".rstrip()]
    if not _sent(read, twin):
        return [f"{said}: {_unsent(server, twin, _flow(read, twin))}"]
    if resets := (_flow(read, twin) or {}).get("resets", 0):
        return [f"{said}: {resets} resets"]
    return [] if twin["outcome"] == "ok" else [f"{said}: {twin['outcome']} after the packets {twin['detail']}".rstrip()]


def _leg(way: Way, read: Any, name: str) -> Leg:
    client, service, server = way
    one = _virtual(read, way)
    refused = [str(row["error"]) for row in flows(read) if "error" in row]
    if refused:
        return broken(name, f"{server.name} could send no packets of its own making: {refused[0]}")
    if one is None:
        return broken(name, f"the probe did not report {name}", "missing")
    if "error" in {one["before"], one["outcome"]}:
        return broken(name, f"the probe itself failed on {name}: {one['detail']}")
    if one["before"] != "ok":
        text = f"{where(client)} got no answer from {one['dst']} ({service.name}) at first: nothing could be held"
        return recorded(name, one["before"], text)
    if not _sent(read, one):
        return broken(name, _unsent(server, one, _flow(read, one)), "missing")
    return _outcome(way, one, _flow(read, one) or {}, name)


def _unsent(server: Site, one: Json, flow: Json | None) -> str:
    """Why nothing was sent into a connection."""
    if flow is None:
        return f"{server.name} saw no connection from {seen_from(one)}, so that it could send nothing into it"
    if flow.get("refused"):
        return f"{server.name} could send nothing to {seen_from(one)}: {flow['refused']}"
    return (
        f"{server.name} saw no acknowledgement from {seen_from(one)}, so that it could send nothing out of its window"
    )


def _outcome(way: Way, one: Json, flow: Json, name: str) -> Leg:
    """What became of a connection into which packets were sent."""
    client, service, server = way
    dial = f"{one['dst']} ({service.name})"
    what = f"{flow['sent']} packets of {where(server)} that are out of the window of a connection of {where(client)} to"
    if flow["resets"]:
        text = f"{what} {dial} came to {client.name} with the pod's own address, so that it reset the connection"
        return failed(name, "reset", text, "no RST", flow["resets"], "count")
    if one["outcome"] != "ok":
        words = WORDS.get(one["outcome"], f"ended with {one['outcome']} at")
        text = f"after {what} {dial}, {client.name} {words} the Service over this connection"
        return failed(name, one["outcome"], text, "ok", one["outcome"])
    if one["token"] != server.name:
        text = f"{where(client)} dialled {dial}, and not {server.name} but {one['token'] or 'nobody'} answered"
        return failed(name, "wrong-peer", text, server.name, one["token"])
    return passed(name, "no RST", 0, "count")


def _evidence(context: Context, legs: list[Leg]) -> tuple[Evidence, ...]:
    bad = {leg.leg for leg in legs if leg.status == "fail"}
    found: list[Evidence] = []
    for way in ways(context.inventory):
        client, service, server = way
        read = context.attempt("pod", server.name, WHAT)
        leg, one = f"{client.name}>{service.name}/tcp", _virtual(read, way)
        if leg in bad and one is not None:
            detail = {"leg": leg, "client": dict(one), "server": dict(_flow(read, one) or {})}
            found.append(Evidence(kind="socket", detail=detail))
    return tuple(found[:4])


CHECKS: tuple[Check, ...] = (
    Check(
        "ct.invalid", "a packet out of its window does not reset a connection to a Service", "S", "B3", ct_invalid,
        source=f"{VIP}; kubernetes#74839", gates=("svc", "kp"), after=AFTER,
        causes=("packets that connection tracking calls INVALID are forwarded untranslated",),
        next=("iptables -S KUBE-FORWARD", "conntrack -S", "sysctl net.netfilter.nf_conntrack_tcp_be_liberal"),
    ),
)  # fmt: skip
