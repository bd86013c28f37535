"""May this packet pass? The NetworkPolicy API as a pure function, independent of every network that implements it.

Sources: API reference networking.k8s.io/v1; Kubernetes documentation, "Network Policies", sections "The two sorts of
pod isolation" and "Behavior of to and from selectors"; KEP-2079 (endPort).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from conformance.policy.model import Direction, Peer, Policy, Port, Rule

Proto = Literal["tcp", "udp"]


@dataclass(frozen=True)
class Endpoint:
    """Somebody who talks.

    Args:
        name: As legs call it.
        kind: A pod; a node, which no selector matches; or an address outside the cluster.
        ip: Address.
        namespace: Of a pod.
        labels: Of a pod.
        namespace_labels: Labels of its namespace.
        ports: Numbers of a pod's named ports, by protocol and name.
        node: Where a pod runs; a node's own name.
    """

    name: str
    kind: Literal["pod", "node", "outside"] = "pod"
    ip: str = ""
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    namespace_labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    ports: Mapping[tuple[str, str], int] = field(default_factory=dict, hash=False)
    node: str = ""


@dataclass(frozen=True)
class Decision:
    """What the API says of a connection.

    Args:
        allowed: It must work; otherwise it must not.
        why: The reason, as the end of a sentence.
    """

    allowed: bool
    why: str


def decide(policies: Sequence[Policy], src: Endpoint, dst: Endpoint, proto: Proto, port: int) -> Decision:
    """Whether a new connection is allowed: by the source's egress and by the destination's ingress.

    Replies are not asked about: an allowed connection's replies are allowed.

    Args:
        policies: All policies of the cluster.
        src: Who connects.
        dst: To whom; at its own address, behind any Service.
        proto: Transport.
        port: Of the destination.
    """
    if src.name == dst.name:
        return Decision(allowed=True, why="no policy isolates a pod from itself")
    if src.kind == "node" and src.node == dst.node:
        return Decision(allowed=True, why="no policy isolates a pod from its node")
    out = _side(policies, "Egress", src, dst, (proto, port))
    into = _side(policies, "Ingress", dst, src, (proto, port))
    if out.allowed and into.allowed:
        why = " and ".join(filter(None, (out.why, into.why)))
        return Decision(allowed=True, why=why or "no policy isolates either end")
    return out if not out.allowed else into


def isolates(policy: Policy, direction: Direction, endpoint: Endpoint) -> bool:
    """True when a policy selects the pod and is about that direction."""
    return (
        endpoint.kind == "pod"
        and policy.namespace == endpoint.namespace
        and direction in policy.spec.directions
        and policy.spec.pods.matches(endpoint.labels)
    )


def _side(
    policies: Sequence[Policy], direction: Direction, subject: Endpoint, other: Endpoint, what: tuple[Proto, int]
) -> Decision:
    """One end's part: not isolated, or allowed by a rule of at least one policy that isolates it."""
    chosen = [policy for policy in policies if isolates(policy, direction, subject)]
    if not chosen:
        return Decision(allowed=True, why="")
    destination = subject if direction == "Ingress" else other
    for policy in chosen:
        for number, rule in enumerate(policy.spec.rules(direction), start=1):
            if _passes(rule, policy.namespace, other, destination, what):
                words = f"{direction.lower()} rule {number} of {policy.namespace}/{policy.name} allows it"
                return Decision(allowed=True, why=words)
    names = ", ".join(f"{policy.namespace}/{policy.name}" for policy in chosen)
    words = f"{names} isolate{'s' if len(chosen) == 1 else ''} {subject.name} for {direction.lower()}"
    return Decision(allowed=False, why=f"{words}, and no rule allows it")


def _passes(rule: Rule, namespace: str, other: Endpoint, destination: Endpoint, what: tuple[Proto, int]) -> bool:
    return (not rule.peers or any(_is(peer, namespace, other) for peer in rule.peers)) and (
        not rule.ports or any(_covers(port, destination, what) for port in rule.ports)
    )


def _is(peer: Peer, namespace: str, other: Endpoint) -> bool:
    """A pod selector alone means the policy's own namespace; with a namespace selector, both must match."""
    if peer.block is not None:
        return bool(other.ip) and peer.block.matches(other.ip)
    if other.kind != "pod":
        return False
    if peer.namespaces is None:
        at_home = other.namespace == namespace
    else:
        at_home = peer.namespaces.matches(other.namespace_labels)
    return at_home and (peer.pods is None or peer.pods.matches(other.labels))


def _covers(port: Port, destination: Endpoint, what: tuple[Proto, int]) -> bool:
    """A name means whatever number the destination gives it for that protocol; none, and nothing matches."""
    proto, number = what
    if port.protocol.lower() != proto:
        return False
    if port.port is None:
        return True
    if isinstance(port.port, str):
        return destination.ports.get((proto, port.port)) == number
    return port.port <= number <= (port.end or port.port)
