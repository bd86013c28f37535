"""The cases as data, and what follows from them: pods, dials and rounds. Pure; `conformance/cases/policy.yaml`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from conformance.families import leg_of
from conformance.policy.model import Direction, Policy
from conformance.policy.semantics import Decision, Endpoint, Proto, decide, isolates
from harness import yamlio
from harness.model.base import Data
from harness.model.family import Family
from harness.model.wellknown import POLICY_NAMESPACES

FILE: Final = Path(__file__).parent.parent / "cases" / "policy.yaml"
PREFIX: Final = POLICY_NAMESPACES
"""What the namespaces of the cases begin with in a cluster."""

DNS: Final = "dns"
"""Name of the cluster's name server as a destination."""

BEFORE: Final = "policy-before"
AFTER: Final = "policy-after"
NEW: Final = "policy-new"
"""Purposes of what is seen before and after all policies, and by the newcomer."""

PROTOS: Final[tuple[Proto, ...]] = ("tcp", "udp")
DIRECTIONS: Final[tuple[Direction, ...]] = ("Ingress", "Egress")


class PodCase(Data):
    """A pod that is in every namespace."""

    labels: dict[str, str]
    web: int = Field(description="Number of its named port `web`")


class World(Data):
    """Who is there."""

    namespaces: dict[str, dict[str, str]] = Field(description="Labels by name")
    pods: dict[str, PodCase]
    serve: tuple[int, ...] = Field(description="Ports, TCP and UDP, on which every pod answers")
    outside: dict[str, str] = Field(description="Addresses beyond the router, by what they stand for")
    outside6: dict[str, str] = Field(description="The same places in IPv6")

    def beyond(self, family: Family) -> dict[str, str]:
        """Addresses beyond the router."""
        return self.outside if family == "ipv4" else self.outside6


def _service(text: str) -> str:
    proto, _, port = text.partition("/")
    if proto not in {"tcp", "udp"} or not port.isdecimal():
        msg = "is not a protocol and a port, such as tcp/8080"
        raise ValueError(msg)
    return text


class Case(Data):
    """Policies, and what is dialled under them."""

    id: str
    check: str = Field(description="The requirement that it is a part of")
    title: str
    policies: tuple[Policy, ...] = Field(min_length=1)
    ports: tuple[Annotated[str, AfterValidator(_service)], ...] = ("tcp/8080", "udp/8080")
    outside: tuple[str, ...] = ()
    nodes: bool = False
    dns: bool = False
    peers: bool = True

    @property
    def services(self) -> tuple[tuple[Proto, int], ...]:
        """Protocols and ports to dial."""
        split = [text.partition("/") for text in self.ports]
        return tuple(("tcp" if proto == "tcp" else "udp", int(port)) for proto, _, port in split)


@dataclass(frozen=True, order=True)
class Dial:
    """One connection that is tried.

    Args:
        src: Name of an endpoint.
        dst: Name of an endpoint.
        proto: Transport.
        port: Of the destination.
        family: Below the transport.
    """

    src: str
    dst: str
    proto: Proto
    port: int
    family: Family = "ipv4"

    def __str__(self) -> str:
        """As legs are called."""
        return leg_of(f"{self.src}>{self.dst}/{self.proto}/{self.port}", self.family)


class Newcomer(Data):
    """A pod that is made under policies, and what it dials from its first instant."""

    namespace: str
    name: str
    labels: dict[str, str]
    outside: tuple[str, ...]
    policies: tuple[Policy, ...]

    @property
    def full_name(self) -> str:
        """As an endpoint."""
        return f"{self.namespace}/{self.name}"

    def expected(self, world: World, family: Family) -> dict[Dial, Decision]:
        """What it dials over a family, and what the API says of that."""
        endpoint = Endpoint(
            name=self.full_name,
            namespace=self.namespace,
            labels=self.labels,
            namespace_labels=world.namespaces[self.namespace],
        )
        known = {self.full_name: endpoint} | _outside(world, family)
        wanted = (Dial(self.full_name, name, proto, 8080) for name in self.outside for proto in PROTOS)
        return decisions(self.policies, wanted, known)


class Catalogue(Data):
    """The whole file."""

    world: World
    newcomer: Newcomer
    cases: tuple[Case, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ids = [case.id for case in self.cases]
        names = [policy.name for case in self.cases for policy in case.policies]
        names += [policy.name for policy in self.newcomer.policies]
        for what, found in (("case", ids), ("policy", names)):
            for name in found:
                if found.count(name) > 1:
                    msg = f"{what} {name} exists twice"
                    raise ValueError(msg)
        for case in self.cases:
            strange = {policy.namespace for policy in case.policies} - set(self.world.namespaces)
            strange |= set(case.outside) - (set(self.world.outside) & set(self.world.outside6))
            strange |= {str(port) for _, port in case.services if port not in self.world.serve}
            if strange:
                msg = f"case {case.id} uses {', '.join(sorted(strange))}, which the world does not have"
                raise ValueError(msg)
        return self


@cache
def catalogue() -> Catalogue:
    """The file, checked."""
    return Catalogue.model_validate(yamlio.loads(FILE.read_text(encoding="utf-8")))


def pod_names(world: World) -> list[tuple[str, str]]:
    """Namespace and name of every pod, in the order of the file."""
    return [(namespace, pod) for namespace in world.namespaces for pod in world.pods]


def placed(world: World, nodes: Sequence[str]) -> dict[str, str]:
    """The node of each pod: every namespace and every role gets as many nodes as there are.

    Args:
        world: Pods and namespaces.
        nodes: Names of nodes.
    """
    width = len(world.pods)
    return {
        f"{namespace}/{pod}": nodes[(number % width + number // width) % len(nodes)]
        for number, (namespace, pod) in enumerate(pod_names(world))
    }


def endpoints(
    world: World,
    addresses: Mapping[str, str],
    nodes: Mapping[str, str],
    hosts: Mapping[str, str],
    family: Family = "ipv4",
) -> dict[str, Endpoint]:
    """Everybody that cases may name.

    Args:
        world: Pods and namespaces.
        addresses: IP address of each pod, by `namespace/pod`.
        nodes: Node of each pod.
        hosts: Address of the host-network pod that speaks for each node, by node.
        family: Of all these addresses.
    """
    found = {
        f"{namespace}/{pod}": Endpoint(
            name=f"{namespace}/{pod}",
            ip=addresses.get(f"{namespace}/{pod}", ""),
            namespace=namespace,
            labels=world.pods[pod].labels | {"pod": pod},
            namespace_labels=world.namespaces[namespace] | {"kubernetes.io/metadata.name": PREFIX + namespace},
            ports={("tcp", "web"): world.pods[pod].web},
            node=nodes.get(f"{namespace}/{pod}", ""),
        )
        for namespace, pod in pod_names(world)
    }
    found[DNS] = Endpoint(
        name=DNS,
        namespace="kube-system",
        labels={"k8s-app": "kube-dns"},
        namespace_labels={"kubernetes.io/metadata.name": "kube-system"},
        ports={("udp", "dns"): 53, ("tcp", "dns-tcp"): 53},
    )
    found |= _outside(world, family)
    found |= {node: Endpoint(name=node, kind="node", ip=address, node=node) for node, address in hosts.items()}
    return found


def _outside(world: World, family: Family) -> dict[str, Endpoint]:
    return {name: Endpoint(name=name, kind="outside", ip=address) for name, address in world.beyond(family).items()}


def subjects(case: Case, everybody: Mapping[str, Endpoint], direction: Direction) -> tuple[str, ...]:
    """Pods that a case isolates in a direction, in the order of the world."""
    return tuple(
        name
        for name, endpoint in everybody.items()
        if any(isolates(policy, direction, endpoint) for policy in case.policies)
    )


def dials(case: Case, everybody: Mapping[str, Endpoint]) -> tuple[Dial, ...]:
    """What is tried under a case, each connection once."""
    return tuple(dict.fromkeys(_dials(case, everybody)))


def _dials(case: Case, everybody: Mapping[str, Endpoint]) -> Iterator[Dial]:
    pods = [name for name, one in everybody.items() if one.kind == "pod" and name != DNS]
    closed_in = subjects(case, everybody, "Ingress")
    closed_out = subjects(case, everybody, "Egress")
    for proto, port in case.services:
        if case.peers:
            yield from (Dial(src, dst, proto, port) for dst in closed_in for src in pods)
            yield from (Dial(src, dst, proto, port) for src in closed_out for dst in pods)
        if case.nodes:
            yield from (
                Dial(everybody[dst].node, dst, proto, port) for dst in closed_in if everybody[dst].node in everybody
            )
        yield from (Dial(src, name, proto, port) for src in closed_out for name in case.outside if name in everybody)
    if case.dns and DNS in everybody:
        yield from (Dial(src, DNS, proto, 53) for src in closed_out for proto in PROTOS)


def rounds(cases: Iterable[Case], everybody: Mapping[str, Endpoint]) -> tuple[tuple[Case, ...], ...]:
    """Cases that can be applied together: then no dial of one is decided by a policy of another.

    That holds for cases of the same single direction that isolate different pods.
    """
    packed: list[tuple[list[Case], frozenset[Direction], set[str]]] = []
    for case in cases:
        own = {direction: set(subjects(case, everybody, direction)) for direction in DIRECTIONS}
        about = frozenset(direction for direction, names in own.items() if names)
        names = set().union(*own.values())
        for members, other, taken in packed:
            if about == other and len(about) == 1 and not names & taken:
                members.append(case)
                taken.update(names)
                break
        else:
            packed.append(([case], about, names))
    return tuple(tuple(members) for members, _, _ in packed)


def decisions(
    policies: Sequence[Policy], wanted: Iterable[Dial], everybody: Mapping[str, Endpoint]
) -> dict[Dial, Decision]:
    """What the API says of each dial."""
    return {dial: decide(policies, everybody[dial.src], everybody[dial.dst], dial.proto, dial.port) for dial in wanted}


def mesh(everybody: Mapping[str, Endpoint]) -> tuple[Dial, ...]:
    """Every pod to every pod on one port: what must work without any policy."""
    pods = [name for name, one in everybody.items() if one.kind == "pod" and name != DNS]
    return tuple(Dial(src, dst, proto, 8080) for src in pods for dst in pods for proto in PROTOS)
