"""A NetworkPolicy as data: the part of networking.k8s.io/v1 that decides who may talk to whom.

Field by field as in the API reference, "NetworkPolicySpec". What is absent and what is empty differ there in many
places, so both are kept apart: a rule without `from` matches every source, a selector `{}` every object.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from typing import Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from harness.model.base import Data
from harness.model.family import Family, family_of

Direction = Literal["Ingress", "Egress"]


class Requirement(Data):
    """One `matchExpressions` entry of a label selector."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _values(self) -> Self:
        if bool(self.values) is not (self.operator in {"In", "NotIn"}):
            msg = "In and NotIn need values, Exists and DoesNotExist have none"
            raise ValueError(msg)
        return self

    def matches(self, labels: Mapping[str, str]) -> bool:
        """NotIn also matches objects that do not have the label at all."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


class Selector(Data):
    """A label selector; empty, it matches every object."""

    labels: dict[str, str] = Field(default_factory=dict, alias="matchLabels")
    expressions: tuple[Requirement, ...] = Field(default=(), alias="matchExpressions")

    def matches(self, labels: Mapping[str, str]) -> bool:
        """All of its parts hold."""
        return self.labels.items() <= labels.items() and all(part.matches(labels) for part in self.expressions)


class IPBlock(Data):
    """A range of addresses, less some smaller ones."""

    cidr: str
    excepted: tuple[str, ...] = Field(default=(), alias="except")

    @model_validator(mode="after")
    def _inside(self) -> Self:
        whole = ipaddress.ip_network(self.cidr)
        for text in self.excepted:
            part = ipaddress.ip_network(text)
            if part.version != whole.version or not part.subnet_of(whole):  # type: ignore[arg-type]
                msg = f"{text} is not inside {self.cidr}"
                raise ValueError(msg)
        return self

    def matches(self, address: str) -> bool:
        """In the range, and in none of the exceptions."""
        one = ipaddress.ip_address(address)
        return one in ipaddress.ip_network(self.cidr) and not any(
            one in ipaddress.ip_network(part) for part in self.excepted
        )


class Peer(Data):
    """Who may talk: pods by their labels, by those of their namespace, by both at once, or addresses."""

    pods: Selector | None = Field(default=None, alias="podSelector")
    namespaces: Selector | None = Field(default=None, alias="namespaceSelector")
    block: IPBlock | None = Field(default=None, alias="ipBlock")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        selectors = self.pods is not None or self.namespaces is not None
        if selectors == (self.block is not None):
            msg = "a peer has selectors or an ipBlock"
            raise ValueError(msg)
        return self


class Port(Data):
    """A port, a name that the destination gives it, a range, or every port of a protocol."""

    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    port: int | str | None = None
    end: int | None = Field(default=None, alias="endPort")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.end is not None and (not isinstance(self.port, int) or self.end < self.port):
            msg = "endPort needs a port that is a number and not above it (KEP-2079)"
            raise ValueError(msg)
        return self


class Rule(Data):
    """Who, and on which ports; an empty list of either means all."""

    peers: tuple[Peer, ...] = ()
    ports: tuple[Port, ...] = ()


class _Ingress(Data):
    peers: tuple[Peer, ...] = Field(default=(), alias="from")
    ports: tuple[Port, ...] = ()


class _Egress(Data):
    peers: tuple[Peer, ...] = Field(default=(), alias="to")
    ports: tuple[Port, ...] = ()


class Spec(Data):
    """What a policy says."""

    pods: Selector = Field(default_factory=Selector, alias="podSelector")
    types: tuple[Direction, ...] = Field(default=(), alias="policyTypes")
    ingress: tuple[_Ingress, ...] = ()
    egress: tuple[_Egress, ...] = ()

    @field_validator("types")
    @classmethod
    def _once(cls, types: tuple[Direction, ...]) -> tuple[Direction, ...]:
        if len(set(types)) != len(types):
            msg = "names a direction twice"
            raise ValueError(msg)
        return types

    @property
    def directions(self) -> frozenset[Direction]:
        """As the API server defaults them: Ingress always, Egress where there are egress rules."""
        if self.types:
            return frozenset(self.types)
        return frozenset({"Ingress", "Egress"}) if self.egress else frozenset({"Ingress"})

    def rules(self, direction: Direction) -> tuple[Rule, ...]:
        """The rules of a direction."""
        found = self.ingress if direction == "Ingress" else self.egress
        return tuple(Rule(peers=rule.peers, ports=rule.ports) for rule in found)


RuleOf = TypeVar("RuleOf", _Ingress, _Egress)


def _of(rule: RuleOf, families: Collection[Family]) -> RuleOf:
    kept = tuple(peer for peer in rule.peers if peer.block is None or family_of(peer.block.cidr) in families)
    if rule.peers and not kept:
        msg = f"a rule has no block of {' or '.join(sorted(families))}, and would match everybody"
        raise ValueError(msg)
    return rule if kept == rule.peers else rule.model_copy(update={"peers": kept})


class Policy(Data):
    """A policy of a namespace."""

    name: str
    namespace: str
    spec: Spec

    def of(self, families: Collection[Family]) -> Policy:
        """The policy for a cluster of some families: without blocks of addresses that nothing in it can have.

        Raises:
            ValueError: A rule would be left without peers, and so match everybody.
        """
        spec = self.spec.model_copy(
            update={
                "ingress": tuple(_of(rule, families) for rule in self.spec.ingress),
                "egress": tuple(_of(rule, families) for rule in self.spec.egress),
            }
        )
        return self if spec == self.spec else self.model_copy(update={"spec": spec})

    def manifest(self, namespace: str) -> dict[str, object]:
        """The object as users write it.

        Args:
            namespace: Its namespace in the cluster.
        """
        spec = self.spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": {"podSelector": {}} | spec,
        }
