"""`cnilab why`: the way of one flow by what its kernels say, what is wrong on it, and what became of its packets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from conformance.causes.explain import of_walk
from conformance.causes.flows import Asked
from conformance.causes.library import described
from conformance.context import Context
from conformance.netfilter import SMALL, Flow
from conformance.path.hop import Step, Walk
from conformance.path.passages import along
from conformance.path.places import World, world
from conformance.path.walk import walk
from harness.cni.networks import network
from harness.errors import UsageError
from harness.model.cause import Cause
from harness.model.datapath import DropMonitor
from harness.model.family import Family, family_of, family_of_dial
from harness.model.journal import Journal
from harness.model.records import Exchange
from harness.model.variant import DRIVERS
from harness.probes import sandboxes
from harness.probes.sandboxes import Sandboxes
from harness.steps.lifecycle.attach import Attached
from harness.steps.suite.deploy import service_fact
from harness.steps.suite.trace import End, family_for, find
from harness.steps.why import live, look
from harness.steps.why.ends import Question, Virtual, Wire, service
from harness.steps.why.live import Traced
from harness.steps.why.look import Around
from harness.steps.why.traced import agents_of, aimed, concluded, route_of, spots_of

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
        traced: What netfilter saw of them; None: they were not traced.
    """

    source: str
    target: str
    flow: str
    ways: tuple[Walk, ...]
    causes: tuple[Cause, ...]
    tried: Exchange | None
    traced: Traced | None = None

    @property
    def arrives(self) -> bool | None:
        """The flow's own packets arrived; None: not tried."""
        return None if self.tried is None else self.tried.outcome == "ok"

    @property
    def fine(self) -> bool:
        """Nothing is known to be wrong with it."""
        certain = any(one.confidence == "certain" for one in self.causes)
        blind = bool(self.unknown)
        return not certain and (self.arrives is not False) and not (blind and self.arrives is None)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What decides on its way, and is not known."""
        return tuple(sorted({text for way in self.ways for text in (*way.unknown, *way.unread)}))

    @property
    def steps(self) -> tuple[Step, ...]:
        """Of the first way on which something is wrong; else of the first one."""
        worst = next((way for way in self.ways if way.troubles), self.ways[0])
        return worst.steps


def why(
    attached: Attached, question: Question, *, journal: Journal, around: Around | None = None, trace: bool = False
) -> Answer:
    """Follow a flow there and back.

    Args:
        attached: The cluster.
        question: The flow.
        journal: Gets a step.
        around: What is known of a cluster that nobody here made; None: it is one of ours.
        trace: Trace the flow's own packets in the kernels.

    Raises:
        UsageError: An end is not there, or not in this family.
    """
    source, target, asked, family = question.source, question.target, question.wire, question.family
    with journal.step("why", f"{source} to {target}"):
        with ThreadPoolExecutor(2) as pool:
            listed, taken = pool.submit(look.api, attached.kube), pool.submit(sandboxes.take, attached.lab)
            known, stock = listed.result(), taken.result()
        machines = {*attached.spec.node_names, "router", "far"}
        virtual = virtual_of(known, machines, target, asked, family)
        chosen = family_of(virtual.address) if virtual is not None else family_for(attached.spec, target, family)
        stock = look.as_given(attached, stock, (source, target), chosen)
        sender = find(attached, stock, source, chosen)
        if sender.runner is None:
            msg = f"'{source}' is an address: a flow must begin at a pod, a node, or the router"
            raise UsageError(msg)
        receiver = End(target, virtual.address, None, None, None) if virtual else find(attached, stock, target, chosen)
        flow = _flow(sender, receiver, virtual, asked, question.size)
        serving = tuple(_serving(stock, virtual, known, chosen))
        ends = (sender, receiver, *(serving if around is not None or trace else ()))
        place = look.site(sender) or (sender.node.name if sender.node is not None else "router")
        with ThreadPoolExecutor(2) as pool:
            trying = None if trace else pool.submit(look.tried, sender, receiver.address, flow, chosen)
            seen = look.context(attached, stock, ends, known, around).of(chosen)
            tried = trying.result() if trying is not None else None
    if not trace:
        return judge(seen, (sender, place), receiver, flow, tried, virtual)
    aim = aimed(world(seen), place, (receiver, *serving), flow, ports_of(known, virtual))
    spots, agents = tuple(spots_of(attached.lab, ends)), tuple(agents_of(attached.lab, ends, monitor_of(attached)))
    title = f"{source} to {target} in {len(spots) + len(agents)} places"
    with journal.step("why.trace", title), live.tracing(spots, aim, agents) as traced:
        tried = look.tried(sender, receiver.address, flow, chosen, datagrams=True)
    answer = judge(seen, (sender, place), receiver, flow, tried, virtual)
    return with_trace(answer, world(seen), (sender, serving or (receiver,)), flow, traced)


def with_trace(answer: Answer, there: World, ends: tuple[End, Sequence[End]], flow: Flow, traced: Traced) -> Answer:
    """The answer with what was seen of the packets. Pure.

    Args:
        answer: By what the kernels said of themselves.
        there: All places.
        ends: Who sends, and who may receive.
        flow: The packet.
        traced: What was seen.
    """
    route = route_of(answer.ways, ends, traced)
    traced = replace(traced, seen=along(traced.seen, route))
    back = any((one.direction, one.place, one.hook) == ("reply", route[0], "input") for one in traced.seen if route)
    if flow.proto == "udp" and back and answer.tried is not None:  # whatever it says, it is an answer
        answer = replace(answer, tried=answer.tried.model_copy(update={"outcome": "ok"}))
    if answer.arrives:
        return replace(answer, traced=traced)
    causes = concluded(there, answer.ways, ends, flow, answer.causes, traced)
    # A datagram that was delivered needs no answer.
    lost = flow.proto != "udp" or any(one.kind.startswith("seen.") for one in causes)
    return replace(answer, causes=causes, traced=traced, tried=answer.tried if lost else None)


def monitor_of(attached: Attached) -> DropMonitor | None:
    """How agents of the cluster's network tell what their programs drop; None: they do not, or it is not known."""
    return network(attached.variant).drops if attached.variant.driver in DRIVERS else None


def ports_of(known: look.Api, virtual: Virtual | None) -> tuple[int, ...]:
    """Ports of the endpoints of a Service.

    Args:
        known: What the API says.
        virtual: The Service; None: none is dialled.
    """
    if virtual is None:
        return ()
    meta = virtual.item["metadata"]
    mine = (
        one
        for one in known.slices
        if one["metadata"]["namespace"] == meta["namespace"]
        and (one["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == meta["name"]
    )
    return tuple(int(port["port"]) for one in mine for port in one.get("ports") or () if port.get("port"))


def virtual_of(
    known: look.Api, machines: Collection[str], word: str, asked: Wire | None, family: Family | None
) -> Virtual | None:
    """The Service that a word means, unless it means a machine.

    Args:
        known: What the API says.
        machines: Names of nodes, of the router and of the far host.
        word: As the user wrote it.
        asked: Protocol and port.
        family: Over which.

    Raises:
        UsageError: There is no such Service, or no such port of it.
    """
    explicit = word.startswith(("svc/", "service/"))
    found = service(known.services, word, asked, family) if explicit or word not in machines else None
    if explicit and found is None:
        names = sorted(f"svc/{one['metadata']['namespace']}/{one['metadata']['name']}" for one in known.services)
        msg = f"there is no Service '{word}'"
        raise UsageError(msg, cause=f"Services: {', '.join(names) or 'none'}")
    return found


def endpoints_of(known: look.Api, virtual: Virtual) -> tuple[str, ...]:
    """Addresses of a Service's ready endpoints that are followed, in the family of its address.

    Args:
        known: What the API says.
        virtual: The Service.
    """
    namespace, family = virtual.item["metadata"]["namespace"], family_of(virtual.address)
    slices = [one for one in known.slices if one["metadata"]["namespace"] == namespace]
    listed = service_fact(virtual.item, slices, ()).endpoint_ips
    return tuple(one for one in listed if family_of_dial(one) == family)[:MOST]


def _serving(stock: Sandboxes, virtual: Virtual | None, known: look.Api, family: Family) -> Iterator[End]:
    """Pods to which a Service leads."""
    addresses = endpoints_of(known, virtual) if virtual is not None else ()
    for pod in stock.sandboxes:
        if not pod.host_network and pod.address(family) in addresses:
            yield End(pod.key, pod.address(family), stock.node(pod.node), pod, stock.netns_runner(pod))


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
