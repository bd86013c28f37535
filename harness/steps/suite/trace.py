"""The path of one ping: a tap at every place that it must pass, and what each of them saw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from itertools import pairwise
from typing import Literal

from harness.errors import UsageError
from harness.model.journal import Journal
from harness.model.node import Node
from harness.model.records import Packet, Tap
from harness.model.run import RunDir
from harness.probes import capture, sandboxes
from harness.probes.capture import TapPoint
from harness.probes.sandboxes import Sandbox, Sandboxes
from harness.runner import Completed, Runner
from harness.steps.lifecycle.attach import Attached

ECHO_REPLY, ECHO_REQUEST = 0, 8

PAYLOAD = 72
"""Bytes of the ping: no ping of the kubelet, of a playbook or of a learner has this size by default."""


@dataclass(frozen=True)
class End:
    """One end of the ping.

    Args:
        name: As the user said it.
        address: IPv4.
        node: The node that it is on; None for an address outside of the cluster.
        sandbox: The pod; None for anything else, and for host-network pods.
        runner: Runs the node's programs in its network namespace.
    """

    name: str
    address: str
    node: Node | None
    sandbox: Sandbox | None
    runner: Runner | None


@dataclass(frozen=True)
class Hop:
    """What one tap saw of the ping, one way.

    Args:
        direction: Of the packet.
        tap: The tap.
        packet: The ping's own packet, without encapsulation; None: not seen here.
        outer: The packet that carried it, where it was encapsulated.
        changed: What differs from the hop before: "TTL 64 -> 63", "source 10.244.0.2 -> 172.18.0.11", "VXLAN VNI 1".
    """

    direction: Literal["request", "reply"]
    tap: Tap
    packet: Packet | None
    outer: Packet | None
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trace:
    """A traced ping.

    Args:
        source: Name of the sender.
        target: Name of the other end.
        hops: Request hops from the sender on, then reply hops from the target back.
        answered: The ping got its answer.
        command: The ping as a person would type it.
        output: What it printed.
    """

    source: str
    target: str
    hops: tuple[Hop, ...]
    answered: bool
    command: str
    output: str

    @property
    def last_seen(self) -> str:
        """Where the packet was seen last: the place to look at when there was no answer."""
        seen = [hop for hop in self.hops if hop.packet is not None]
        return f"{seen[-1].tap.place}:{seen[-1].tap.interface} ({seen[-1].direction})" if seen else "nowhere"


def trace(there: Attached, source: str, target: str, *, run: RunDir, journal: Journal, size: int = PAYLOAD) -> Trace:
    """Ping once, with taps everywhere.

    Args:
        there: The lab.
        source: A pod (`name`, `namespace/name`), a node, or `router`.
        target: Likewise, or an IPv4 address.
        run: Captures go to its `captures/`.
        journal: Gets one step.
        size: Bytes of ICMP payload.

    Raises:
        UsageError: An end is not there.
    """
    stock = sandboxes.take(there.lab)
    sender, receiver = find(there, stock, source), find(there, stock, target)
    if sender.runner is None:
        msg = f"'{source}' is an address: a trace must begin at a pod, a node, or the router"
        raise UsageError(msg)
    points = list(dict.fromkeys(path(there, sender, receiver)))
    flow = f"{sender.name}>{receiver.name} icmp"
    with (
        journal.step("trace", f"ping {flow} through {len(points)} taps"),
        capture.listen(points, flow=flow, batch="trace", run=run.path) as taps,
    ):
        argv = ("ping", "-n", "-c", "1", "-W", "2", "-s", str(size), receiver.address)
        done = sender.runner.run(argv, check=False)
    seen = taps.stop()
    run.add_observations(seen)
    return judge(sender, receiver, seen, done, size)


def find(there: Attached, stock: Sandboxes, word: str) -> End:
    """The end that a user means by a word.

    Raises:
        UsageError: Nothing has this name.
    """
    machines = {node.name: node for node in (*there.lab.nodes, there.lab.router, there.lab.far) if node is not None}
    if word in machines:
        node = machines[word]
        return End(word, str(node.address), node, None, node.runner)
    namespace, _, name = word.removeprefix("pod/").rpartition("/")
    pods = [one for one in stock.sandboxes if one.pod == name and namespace in {"", one.namespace}]
    if len({one.namespace for one in pods}) > 1:
        msg = f"pods named '{name}' are in several namespaces"
        raise UsageError(msg, cause=", ".join(sorted(one.key for one in pods)), next_step="give it as namespace/name")
    if pods:
        pod = max(pods, key=lambda one: one.pid)
        return End(word, pod.ip, stock.node(pod.node), None if pod.host_network else pod, stock.netns_runner(pod))
    with suppress(AddressValueError):
        return End(word, str(IPv4Address(word)), None, None, None)
    known = sorted({one.key for one in stock.sandboxes if not one.host_network})
    msg = f"'{word[:100]}' is not a pod, a node or an IPv4 address"
    raise UsageError(msg, cause=f"nodes: {', '.join(machines)}\npods: {', '.join(known) or 'none'}")


def path(there: Attached, sender: End, receiver: End) -> Iterator[TapPoint]:
    """Where to listen, from the sender to the receiver."""
    same = sender.node is not None and receiver.node is not None and sender.node.name == receiver.node.name
    outside = _is_foreign(there, sender) or _is_foreign(there, receiver)
    yield from _leave(there, sender, stays=same, outside=outside)
    yield from reversed(list(_leave(there, receiver, stays=same, outside=outside)))
    router = there.lab.router
    if receiver.node is None and router is not None:
        yield TapPoint(router.name, router.name, there.spec.router_nic, router.runner, "icmp")


def _is_foreign(there: Attached, end: End) -> bool:
    """Whether the end is not in the cluster: no overlay leads there."""
    if end.node is not None:
        return end.node.name not in there.spec.node_names
    return IPv4Address(end.address) not in there.spec.pods.cidr


def _leave(there: Attached, end: End, *, stays: bool, outside: bool) -> Iterator[TapPoint]:
    """From one end to its node's NIC, or to the bridge when the other end is on the same node."""
    expect, node = there.variant.expect, end.node
    if node is None:
        return
    if end.sandbox is not None and end.runner is not None:
        yield TapPoint(node.name, end.sandbox.pod, "eth0", end.runner, "icmp")
        if end.sandbox.host_veth:
            yield TapPoint(node.name, node.name, end.sandbox.host_veth, node.runner, "icmp")
        if expect.bridge:
            yield TapPoint(node.name, node.name, expect.bridge, node.runner, "icmp")
    if stays:
        return
    if expect.overlay_device and not outside:
        yield TapPoint(node.name, node.name, expect.overlay_device, node.runner, "icmp")
    carried = f"icmp or udp port {expect.wire.port}" if expect.wire.port else "icmp"
    own = dict.fromkeys(there.spec.node_names, there.spec.cluster_nic)
    if there.lab.router is not None:
        own[there.lab.router.name] = there.spec.router_nic
    yield TapPoint(node.name, node.name, own.get(node.name, "eth0"), node.runner, carried)


def judge(sender: End, receiver: End, taps: list[Tap], ping: Completed, size: int) -> Trace:
    """Put what the taps saw in order. Pure."""
    ordered = sorted(taps, key=lambda tap: tap.order)
    hops: list[Hop] = []
    for direction, kind, way in (("request", ECHO_REQUEST, ordered), ("reply", ECHO_REPLY, ordered[::-1])):
        found = [_hop(direction, tap, kind, size) for tap in way]  # type: ignore[arg-type]
        # A tunnel's taps see nothing of a packet that is not tunnelled: not a hop of this packet.
        if direction == "request" or any(hop.packet for hop in found):
            hops += [hop for hop in found if hop.packet is not None or not _optional(hop, found)]
    return Trace(sender.name, receiver.name, tuple(_with_changes(hops)), ping.ok, ping.command, ping.stdout)


def _optional(hop: Hop, way: list[Hop]) -> bool:
    """Nothing was seen here, but before and after it was."""
    index = way.index(hop)
    before, after = way[:index], way[index + 1 :]
    return any(one.packet for one in before) and any(one.packet for one in after)


def _hop(direction: Literal["request", "reply"], tap: Tap, kind: int, size: int) -> Hop:
    for packet in tap.packets:
        inner = packet.inner or packet
        if inner.icmp_type == kind and inner.length == size + 28:
            return Hop(direction, tap, inner, packet if packet.inner is not None else None)
    return Hop(direction, tap, None, None)


def _with_changes(hops: list[Hop]) -> Iterator[Hop]:
    if hops:
        yield hops[0]
    for before, hop in pairwise(hops):
        if hop.direction != before.direction:
            yield hop
        else:
            yield Hop(hop.direction, hop.tap, hop.packet, hop.outer, tuple(_changes(before, hop)))


def _changes(before: Hop, hop: Hop) -> Iterator[str]:
    old, new = before.packet, hop.packet
    if old is None or new is None:
        return
    for what, was, now in (("source", old.src, new.src), ("target", old.dst, new.dst), ("TTL", old.ttl, new.ttl)):
        if was != now:
            yield f"{what} {was} -> {now}"
    if hop.outer is not None and before.outer is None:
        vni = "" if hop.outer.vni is None else f" VNI {hop.outer.vni}"
        yield f"encapsulated: {hop.outer.src} -> {hop.outer.dst}{vni}"
    elif hop.outer is None and before.outer is not None:
        yield "decapsulated"
