"""The path of one ping: a tap at every place that it must pass, and what each of them saw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import pairwise
from typing import Final, Literal

from harness.errors import UsageError
from harness.model import world
from harness.model.family import TITLE, Family, family_of, over
from harness.model.journal import Journal
from harness.model.node import Node
from harness.model.records import Packet, Tap
from harness.model.run import RunDir
from harness.model.spec import LabSpec
from harness.probes import capture, sandboxes
from harness.probes.capture import TapPoint
from harness.probes.sandboxes import Sandbox, Sandboxes
from harness.runner import Completed, Runner
from harness.steps.lifecycle.attach import Attached

ECHO_REPLY, ECHO_REQUEST = 0, 8
ECHO_REPLY6, ECHO_REQUEST6 = 129, 128

_KINDS: Final[dict[Family, tuple[int, int]]] = {
    "ipv4": (ECHO_REQUEST, ECHO_REPLY),
    "ipv6": (ECHO_REQUEST6, ECHO_REPLY6),
}
_HEADERS: Final[dict[Family, int]] = {"ipv4": 20 + 8, "ipv6": 40 + 8}
"""Bytes of an echo request that are not its payload."""

_HOPS: Final[dict[Family, str]] = {"ipv4": "TTL", "ipv6": "hop limit"}

PAYLOAD = 72
"""Bytes of the ping: no ping of the kubelet, of a playbook or of a learner has this size by default."""


@dataclass(frozen=True)
class End:
    """One end of the ping.

    Args:
        name: As the user said it.
        address: In the family of the ping.
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


def trace(
    there: Attached,
    source: str,
    target: str,
    *,
    run: RunDir,
    journal: Journal,
    size: int = PAYLOAD,
    family: Family | None = None,
) -> Trace:
    """Ping once, with taps everywhere.

    Args:
        there: The lab.
        source: A pod (`name`, `namespace/name`), a node, or `router`.
        target: Likewise, or an address.
        run: Captures go to its `captures/`.
        journal: Gets one step.
        size: Bytes of ICMP payload.
        family: Over which the ping goes; None: that of the target's address, or the primary one of the lab.

    Raises:
        UsageError: An end is not there, or not in this family.
    """
    over_family = family_for(there.spec, target, family)
    stock = sandboxes.take(there.lab)
    sender, receiver = find(there, stock, source, over_family), find(there, stock, target, over_family)
    if sender.runner is None:
        msg = f"'{source}' is an address: a trace must begin at a pod, a node, or the router"
        raise UsageError(msg)
    points = list(dict.fromkeys(path(there, sender, receiver, over_family)))
    flow = f"{sender.name}>{receiver.name} {over('icmp', over_family)}"
    with (
        journal.step("trace", f"ping {flow} through {len(points)} taps"),
        capture.listen(points, flow=flow, batch="trace", run=run.path) as taps,
    ):
        six = ("-6",) if over_family == "ipv6" else ()
        argv = ("ping", *six, "-n", "-c", "1", "-W", "2", "-s", str(size), receiver.address)
        done = sender.runner.run(argv, check=False)
    seen = taps.stop()
    run.add_observations(seen)
    return judge(sender, receiver, seen, done, size, over_family)


def family_for(spec: LabSpec, target: str, asked: Family | None) -> Family:
    """The family that a flow goes over.

    Args:
        spec: The cluster.
        target: Pod, machine or address.
        asked: What the user wants; None: no matter.

    Raises:
        UsageError: The address is of the other family, or the cluster has none of it.
    """
    family = asked or spec.primary
    with suppress(ValueError):
        family = family_of(ip_address(target))
    if asked and family != asked:
        msg = f"{target} is no {TITLE[asked]} address"
        raise UsageError(msg, next_step=f"leave out --ip-family {asked}")
    if family not in spec.families:
        msg = f"the cluster has no {TITLE[family]}"
        step = "" if spec.provider == "existing" else "cnilab up --ip-family dual"
        raise UsageError(msg, cause=f"its IP family is {spec.ip_family}", next_step=step)
    return family


def _address_of(there: Attached, node: Node, family: Family) -> str:
    """A machine's address in a family."""
    if family == there.spec.primary:
        return str(node.address)
    if node is there.lab.router:
        return str(there.spec.router(family))
    return str(world.far_host(family) if node is there.lab.far else there.spec.node_address(node.name, family))


def find(there: Attached, stock: Sandboxes, word: str, family: Family = "ipv4") -> End:
    """The end that a user means by a word.

    Raises:
        UsageError: Nothing has this name, or what has it has no address of the family.
    """
    machines = {node.name: node for node in (*there.lab.nodes, there.lab.router, there.lab.far) if node is not None}
    if word in machines:
        node = machines[word]
        return End(word, _address_of(there, node, family), node, None, node.runner)
    namespace, _, name = word.removeprefix("pod/").rpartition("/")
    pods = [one for one in stock.sandboxes if one.pod == name and namespace in {"", one.namespace}]
    if len({one.namespace for one in pods}) > 1:
        msg = f"pods named '{name}' are in several namespaces"
        raise UsageError(msg, cause=", ".join(sorted(one.key for one in pods)), next_step="give it as namespace/name")
    if pods:
        pod = max(pods, key=lambda one: one.pid)
        node = stock.node(pod.node)
        address = _address_of(there, node, family) if pod.host_network else pod.address(family)
        if not address:
            msg = f"pod {pod.key} has no {TITLE[family]} address"
            raise UsageError(msg, cause=f"its addresses: {', '.join(pod.ips) or 'none'}")
        return End(word, address, node, None if pod.host_network else pod, stock.netns_runner(pod))
    with suppress(ValueError):
        return End(word, str(ip_address(word)), None, None, None)
    known = sorted({one.key for one in stock.sandboxes if not one.host_network})
    msg = f"'{word[:100]}' is not a pod, a node or an address"
    raise UsageError(msg, cause=f"nodes: {', '.join(machines)}\npods: {', '.join(known) or 'none'}")


def path(there: Attached, sender: End, receiver: End, family: Family = "ipv4") -> Iterator[TapPoint]:
    """Where to listen, from the sender to the receiver."""
    same = sender.node is not None and receiver.node is not None and sender.node.name == receiver.node.name
    outside = _is_foreign(there, sender, family) or _is_foreign(there, receiver, family)
    yield from _leave(there, sender, family, stays=same, outside=outside)
    yield from reversed(list(_leave(there, receiver, family, stays=same, outside=outside)))
    router = there.lab.router
    if receiver.node is None and router is not None:
        yield TapPoint(router.name, router.name, there.spec.router_nic, router.runner, over("icmp", family))


def _is_foreign(there: Attached, end: End, family: Family) -> bool:
    """Whether the end is not in the cluster: no overlay leads there."""
    if end.node is not None:
        return end.node.name not in there.spec.node_names
    return ip_address(end.address) not in there.spec.pods.range(family)


def _leave(there: Attached, end: End, family: Family, *, stays: bool, outside: bool) -> Iterator[TapPoint]:
    """From one end to its node's NIC, or to the bridge when the other end is on the same node."""
    expect, node, echoes = there.variant.expect.of(family), end.node, over("icmp", family)
    if node is None:
        return
    if end.sandbox is not None and end.runner is not None:
        yield TapPoint(node.name, end.sandbox.pod, "eth0", end.runner, echoes)
        if end.sandbox.host_veth:
            yield TapPoint(node.name, node.name, end.sandbox.host_veth, node.runner, echoes)
        if expect.bridge:
            yield TapPoint(node.name, node.name, expect.bridge, node.runner, echoes)
    if stays:
        return
    if expect.overlay_device and not outside:
        yield TapPoint(node.name, node.name, expect.overlay_device, node.runner, echoes)
    # A tunnel's port is the same whichever family it goes over.
    carried = f"{echoes} or udp port {expect.wire.port}" if expect.wire.port else echoes
    own = dict.fromkeys(there.spec.node_names, there.spec.cluster_nic)
    if there.lab.router is not None:
        own[there.lab.router.name] = there.spec.router_nic
    yield TapPoint(node.name, node.name, own.get(node.name, "eth0"), node.runner, carried)


def judge(sender: End, receiver: End, taps: list[Tap], ping: Completed, size: int, family: Family = "ipv4") -> Trace:
    """Put what the taps saw in order. Pure."""
    request, reply = _KINDS[family]
    length = size + _HEADERS[family]
    ordered = sorted(taps, key=lambda tap: tap.order)
    hops: list[Hop] = []
    for direction, kind, way in (("request", request, ordered), ("reply", reply, ordered[::-1])):
        found = [_hop(direction, tap, kind, length) for tap in way]  # type: ignore[arg-type]
        # A tunnel's taps see nothing of a packet that is not tunnelled: not a hop of this packet.
        if direction == "request" or any(hop.packet for hop in found):
            hops += [hop for hop in found if hop.packet is not None or not _optional(hop, found)]
    return Trace(sender.name, receiver.name, tuple(_with_changes(hops)), ping.ok, ping.command, ping.stdout)


def _optional(hop: Hop, way: list[Hop]) -> bool:
    """Nothing was seen here, but before and after it was."""
    index = way.index(hop)
    before, after = way[:index], way[index + 1 :]
    return any(one.packet for one in before) and any(one.packet for one in after)


def _hop(direction: Literal["request", "reply"], tap: Tap, kind: int, length: int) -> Hop:
    for packet in tap.packets:
        inner = packet.inner or packet
        if inner.icmp_type == kind and inner.length == length:
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
    hops = _HOPS[family_of(new.dst)]
    for what, was, now in (("source", old.src, new.src), ("target", old.dst, new.dst), (hops, old.ttl, new.ttl)):
        if was != now:
            yield f"{what} {was} -> {now}"
    if hop.outer is not None and before.outer is None:
        vni = "" if hop.outer.vni is None else f" VNI {hop.outer.vni}"
        yield f"encapsulated: {hop.outer.src} -> {hop.outer.dst}{vni}"
    elif hop.outer is None and before.outer is not None:
        yield "decapsulated"
