"""What a trace of a flow's packets adds to the answer: where to trace, which packets, and what follows from it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from conformance.causes.traced import agreed, ended, told
from conformance.netfilter import Flow
from conformance.path.hop import Walk
from conformance.path.passages import Aim, Passage, ends_of
from conformance.path.places import Place, World
from harness.model.cause import Cause
from harness.model.datapath import DropMonitor
from harness.model.node import Lab
from harness.steps.suite.trace import End
from harness.steps.why.live import Agent, Spot, Traced

_ROUTER: Final = "router"


def name_of(end: End) -> str:
    """The name of an end among the places of a walk; empty for an address that nobody of the cluster has."""
    return end.sandbox.key if end.sandbox is not None else end.node.name if end.node is not None else ""


def spots_of(lab: Lab, ends: Collection[End]) -> Iterator[Spot]:
    """Where packets are traced: in the pods at both ends, on their nodes, and on the machines of the outside.

    Args:
        lab: The cluster.
        ends: Who sends, and who may receive.
    """
    for end in ends:
        if end.sandbox is not None and end.runner is not None:
            yield Spot(end.sandbox.key, end.runner)
    machines = {end.node.name: end.node for end in ends if end.node is not None}
    machines |= {node.name: node for node in (lab.router, lab.far) if node is not None}
    for name, node in machines.items():
        yield Spot(name, node.runner)


def agents_of(lab: Lab, ends: Collection[End], monitor: DropMonitor | None) -> Iterator[Agent]:
    """Agents that tell what their programs drop: those of the nodes of both ends.

    Args:
        lab: The cluster.
        ends: Who sends, and who may receive.
        monitor: How agents of the cluster's network tell; None: they do not.
    """
    nodes = {end.node.name: end.node for end in ends if end.node is not None}
    for name, node in nodes.items():
        if monitor is None or node not in lab.nodes:
            continue
        pids = node.runner.run(["pgrep", "-o", "-x", monitor.agent], check=False).stdout.split()
        if pids:
            yield Agent(name, node.into_container(int(pids[0])), monitor)


def aimed(there: World, sender: str, receivers: Collection[End], flow: Flow, translated: Collection[int]) -> Aim:
    """The packets of a flow, with every address and port that a machine on the way may give them.

    Args:
        there: All places.
        sender: Who sends.
        receivers: Who is dialled: the receiver, or a Service and its endpoints.
        flow: The packet.
        translated: Ports of a Service's endpoints.
    """
    targets = tuple(dict.fromkeys(one.address for one in receivers))
    ports = () if flow.proto == "icmp" else tuple(filter(None, (flow.dport, *translated)))
    machines: list[Place] = [one for one in there.machines() if one.name != sender]
    own = there.places[sender].addresses if sender in there.places else {}
    sources = [*filter(None, [flow.src]), *own, *(address for one in machines for address in one.addresses)]
    loopback = {address for one in there.places.values() for address, link in one.addresses.items() if link == "lo"}
    # Who has the target may masquerade, too, with its other addresses.
    usable = [one for one in sources if one not in {*targets, *loopback - set(own)} and not one.startswith("127.")]
    wire = there.context.variant.expect.wire
    tunnels = (wire.port,) if wire.kind == "vxlan" and wire.port else ()
    return Aim(flow.family, tuple(dict.fromkeys(usable)), targets, flow.proto, ports, tunnels)


def concluded(
    there: World,
    ways: Sequence[Walk],
    ends: tuple[End, Sequence[End]],
    flow: Flow,
    causes: Sequence[Cause],
    traced: Traced,
) -> tuple[Cause, ...]:
    """Causes with what was seen of a flow that was not answered.

    Args:
        there: All places.
        ways: Its way as the kernels should have it; to a Service one for each endpoint.
        ends: Who sends, and who may receive.
        flow: The packet.
        causes: By what the kernels said of themselves.
        traced: What was seen.
    """
    route = route_of(ways, ends, traced)
    # Where the sender was not traced, it is not known whether it sends.
    if route[:1] != (name_of(ends[0]),):
        return tuple(causes)
    last = ended(traced.seen, route, traced.counted, str(flow))
    # Nobody has to answer a datagram.
    if last is None or (flow.proto == "udp" and last.kind == "seen.unanswered"):
        return tuple(causes)
    blind = [name for name in route if name in there.places and there.places[name].deciders]
    return agreed(causes, told(there, last, flow.family), last.also, blind)


def route_of(ways: Sequence[Walk], ends: tuple[End, Sequence[End]], traced: Traced) -> tuple[str, ...]:
    """The places that the packets should pass and in which they were traced, from the sender to the receiver.

    Args:
        ways: As the kernels should have it.
        ends: Who sends, and who may receive.
        traced: What was seen: it tells which endpoint of a Service was chosen.
    """
    sender, receivers = ends
    hit = next((one for one in receivers if _reached(one, traced.seen)), receivers[0] if receivers else None)
    names = [name_of(sender), sender.node.name if sender.node is not None else ""]
    target = name_of(hit) if hit is not None else ""
    walked = next((way for way in ways if way.arrived and way.arrived == target), None)
    if walked is None and not target:
        walked = next((way for way in ways if way.arrived), None)
    if walked is not None:
        names += [step.place for step in walked.steps if step.direction == "request"]
    elif hit is not None and hit.node is not None:
        names.append(hit.node.name)
    else:
        names.append(_ROUTER)
    names.append(target)
    known = [name for name in dict.fromkeys(names) if name and name in traced.counted]
    return tuple(known)


def _reached(end: End, seen: Sequence[Passage]) -> bool:
    """Some request was for its address."""
    return any(one.direction == "request" and ends_of(one.after)[1] == end.address for one in seen)
