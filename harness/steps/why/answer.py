"""`cnilab why`: the way of one flow by what its kernels say, what is wrong on it, and what became of its packets."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from conformance.causes.explain import of_walk
from conformance.causes.flows import Asked
from conformance.causes.library import described
from conformance.context import Context
from conformance.netfilter import SMALL, Flow
from conformance.path.hop import Step, Walk
from conformance.path.places import world
from conformance.path.walk import walk
from harness.errors import UsageError
from harness.model.cause import Cause
from harness.model.family import Family, family_of
from harness.model.journal import Journal
from harness.model.records import Exchange
from harness.probes import sandboxes
from harness.steps.lifecycle.attach import Attached
from harness.steps.suite.trace import End, family_for, find
from harness.steps.why import look
from harness.steps.why.ends import Virtual, Wire, service

MOST: Final = 4
"""Endpoints of a Service to which the way is followed."""


@dataclass(frozen=True)
class Answer:
    """What is to be said of a flow.

    Args:
        source: As the user named it.
        target: As the user named it.
        flow: The packet that was followed.
        ways: Its way; to a Service one for each endpoint.
        causes: What is wrong, the one that is most certain first.
        tried: What became of its packets; None: none were sent.
    """

    source: str
    target: str
    flow: str
    ways: tuple[Walk, ...]
    causes: tuple[Cause, ...]
    tried: Exchange | None

    @property
    def arrives(self) -> bool | None:
        """The flow's own packets arrived; None: not tried."""
        return None if self.tried is None else self.tried.outcome == "ok"

    @property
    def fine(self) -> bool:
        """Nothing is known to be wrong with it."""
        certain = any(one.confidence == "certain" for one in self.causes)
        blind = any(way.unknown for way in self.ways)
        return not certain and (self.arrives is not False) and not (blind and self.arrives is None)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Of the first way on which something is wrong; else of the first one."""
        worst = next((way for way in self.ways if way.troubles), self.ways[0])
        return worst.steps


def why(
    attached: Attached,
    source: str,
    target: str,
    asked: Wire | None,
    *,
    journal: Journal,
    size: int = 0,
    family: Family | None = None,
) -> Answer:
    """Follow a flow there and back.

    Args:
        attached: The cluster.
        source: A pod (`name`, `namespace/name`), a node, or `router`.
        target: Likewise, a Service, or an address.
        asked: Protocol and port; None: the first port of a Service, an echo to anything else.
        journal: Gets a step.
        size: Bytes of the IP packet; 0: a small one.
        family: Over which; None: that of the target.

    Raises:
        UsageError: An end is not there, or not in this family.
    """
    with journal.step("why", f"{source} to {target}"):
        with ThreadPoolExecutor(2) as pool:
            listed, taken = pool.submit(look.api, attached), pool.submit(sandboxes.take, attached.lab)
            known, stock = listed.result(), taken.result()
        virtual = _virtual(known, attached, target, asked, family)
        chosen = family_of(virtual.address) if virtual is not None else family_for(attached, target, family)
        stock = look.as_given(attached, stock, (source, target), chosen)
        sender = find(attached, stock, source, chosen)
        if sender.runner is None:
            msg = f"'{source}' is an address: a flow must begin at a pod, a node, or the router"
            raise UsageError(msg)
        receiver = End(target, virtual.address, None, None, None) if virtual else find(attached, stock, target, chosen)
        flow = _flow(sender, receiver, virtual, asked, size)
        with ThreadPoolExecutor(2) as pool:
            trying = pool.submit(look.tried, sender, receiver.address, flow.dport, flow.proto, chosen)
            seen = look.context(attached, stock, (sender, receiver), known).of(chosen)
            tried = trying.result()
    place = look.site(sender) or (sender.node.name if sender.node is not None else "router")
    return judge(seen, (sender, place), receiver, flow, tried, virtual)


def _virtual(
    known: look.Api, attached: Attached, word: str, asked: Wire | None, family: Family | None
) -> Virtual | None:
    """The Service that a word means, unless it means a machine or a pod, which have their own names."""
    machines = {*attached.spec.node_names, "router", "far"}
    explicit = word.startswith(("svc/", "service/"))
    found = service(known.services, word, asked, family) if explicit or word not in machines else None
    if explicit and found is None:
        names = sorted(f"svc/{one['metadata']['namespace']}/{one['metadata']['name']}" for one in known.services)
        msg = f"there is no Service '{word}'"
        raise UsageError(msg, cause=f"Services: {', '.join(names) or 'none'}")
    return found


def _flow(sender: End, receiver: End, virtual: Virtual | None, asked: Wire | None, size: int) -> Flow:
    """The packet as its sender makes it; a node and the router choose their address themselves."""
    chosen = asked or Wire("icmp")
    if virtual is not None:
        chosen = Wire("udp" if virtual.port.get("protocol") == "UDP" else "tcp", virtual.port["port"])
    elif chosen.proto != "icmp" and not chosen.port:
        msg = f"which port of {receiver.name} is meant?"
        raise UsageError(msg, next_step=f"write {chosen.proto}/PORT")
    source = sender.address if sender.sandbox is not None else ""
    return Flow(source, receiver.address, proto=chosen.proto, dport=chosen.port or 0, length=size or SMALL)


def _empty(virtual: Virtual | None) -> Iterator[Cause]:
    """A Service that has nobody to lead to."""
    if virtual is None:
        return
    facts = {"service": virtual.name, "namespace": virtual.item["metadata"]["namespace"]}
    told = described("service.empty", "", facts)
    yield Cause.model_validate({**told, "key": f"{virtual.name}/endpoints", "confidence": "certain"})


def judge(
    seen: Context,
    sender: tuple[End, str],
    receiver: End,
    flow: Flow,
    tried: Exchange | None,
    virtual: Virtual | None,
) -> Answer:
    """What is to be said of a flow, from what was read. Pure.

    Args:
        seen: What the kernels said, in the flow's family.
        sender: Who sends, and the name of its place in a walk.
        receiver: To whom.
        flow: The packet.
        tried: What became of such packets; None: none were sent.
        virtual: The Service that is dialled; None: it is none.
    """
    there, (source, place) = world(seen), sender
    endpoints = next((one.endpoint_ips for one in seen.inventory.services if one.cluster_ip == flow.dst), ())
    refused = virtual is not None and not endpoints
    ways = tuple(walk(there, place, flow, prefer=one, refused=refused) for one in endpoints[:MOST] or ("",))
    asked = Asked(place, receiver.name, seen.family, flow, refused=refused)
    arrived = None if tried is None else tried.outcome == "ok"
    causes: dict[str, Cause] = {one.key: one for one in _empty(virtual) if refused}
    for way in ways:
        for cause in of_walk(there, asked, way, arrived=arrived):
            causes.setdefault(cause.key, cause)
    ranked = sorted(causes.values(), key=lambda one: one.confidence != "certain")
    return Answer(source.name, receiver.name, str(flow), ways, tuple(ranked), tried)
