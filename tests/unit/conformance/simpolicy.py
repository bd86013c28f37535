"""A lab in which policies are tried, as observations: it enforces what the API says, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from conformance.context import Context
from conformance.inventory import Inventory
from conformance.policy.cases import (
    AFTER,
    BEFORE,
    DNS,
    NEW,
    Dial,
    catalogue,
    endpoints,
    mesh,
    placed,
    pod_names,
    rounds,
)
from conformance.policy.semantics import Endpoint
from harness.model.family import Family, endpoint, over, record_type
from harness.model.records import Exchange, Lookup, Observation, Try
from harness.steps.suite.policy.record import Arena, Round, record
from tests.unit.conformance.twins import twin

NODES: Final = ("n1", "n2")
CASES: Final = catalogue()
PLACES: Final = placed(CASES.world, NODES)
ADDRESSES: Final = {
    f"{namespace}/{pod}": f"10.244.{NODES.index(PLACES[f'{namespace}/{pod}'])}.{number}"
    for number, (namespace, pod) in enumerate(pod_names(CASES.world), start=20)
}

Answer = Callable[[str, Dial, bool], bool]
"""Purpose, dial, and what the API says: does it get through?"""


def everybody(family: Family = "ipv4") -> dict[str, Endpoint]:
    """Pods on two nodes, both nodes, DNS, and the outside."""
    nodes = {"n1": "172.18.0.11", "n2": "172.18.0.12"}
    if family == "ipv4":
        return endpoints(CASES.world, ADDRESSES, PLACES, nodes)
    pods = {name: twin(address) for name, address in ADDRESSES.items()}
    return endpoints(CASES.world, pods, PLACES, {name: twin(one) for name, one in nodes.items()}, "ipv6")


def _obeys(_purpose: str, _dial: Dial, allowed: bool) -> bool:
    return allowed


def _ignores(_purpose: str, _dial: Dial, _allowed: bool) -> bool:
    return True


def observations(
    *, enforcing: bool, answer: Answer | None = None, families: tuple[Family, ...] = ("ipv4",)
) -> list[Observation]:
    """A run of B6.

    Args:
        enforcing: The variant says that policies are enforced.
        answer: What the network does; by default what its variant says.
        families: Of the lab, the primary one first.
    """
    through = answer or (_obeys if enforcing else _ignores)
    views = {family: everybody(family) for family in families}
    known = views[families[0]]
    arena = Arena(CASES, views, {}, "kubernetes.default.svc.cluster.local.")
    groups = rounds(CASES.cases, known) if enforcing else (CASES.cases,)
    played = []
    for number, group in enumerate(groups, start=1):
        wanted = dict.fromkeys(dial for case in group for dial in arena.dials(case))
        policies = [policy for case in group for policy in case.policies]
        played.append(Round(number, group, arena.decided(policies, wanted), seconds=0.25, looks=2))
    bracket = dict.fromkeys((*arena.over(mesh(known)), *(dial for one in played for dial in sorted(one.denied))))
    seen: list[Observation] = [record(arena, played, enforcing=enforcing)]
    seen += [_seen(views, BEFORE, dial, ok=through(BEFORE, dial, True)) for dial in bracket]  # noqa: FBT003 - as above
    for one in played:
        seen += [
            _seen(views, one.purpose, dial, ok=through(one.purpose, dial, decision.allowed))
            for dial, decision in one.wanted.items()
        ]
    if enforcing:
        new = CASES.newcomer
        for family, view in views.items():
            address = "10.244.0.99" if family == "ipv4" else twin("10.244.0.99")
            view[new.full_name] = Endpoint(new.full_name, ip=address, node="n1")
        seen += [
            _seen(views, NEW, dial, ok=through(NEW, dial, decision.allowed))
            for family in families
            for alone, decision in new.expected(CASES.world, family).items()
            for dial in (replace(alone, family=family),)
        ]
    return seen + [_seen(views, AFTER, dial, ok=through(AFTER, dial, True)) for dial in bracket]  # noqa: FBT003


def _seen(views: Mapping[Family, Mapping[str, Endpoint]], purpose: str, dial: Dial, *, ok: bool) -> Observation:
    src, dst = (views[dial.family][name] for name in (dial.src, dial.dst))
    outcome, errno = ("ok", 0) if ok else ("timeout", 110)
    tries = (Try(t_ms=0.1, ms=0.5, outcome=outcome, errno=errno),)
    if dial.dst == DNS:
        return Lookup(
            batch="B6", purpose=purpose, src=dial.src, src_node=src.node, name="kubernetes.default.svc.cluster.local.",
            qtype=record_type(dial.family), family=dial.family, transport=dial.proto,
            server="10.96.0.10", outcome=outcome, errno=errno, tries=tries,
        )  # fmt: skip
    return Exchange(
        batch="B6", purpose=purpose, src=dial.src, src_node=src.node, src_ip=src.ip, dst=dial.dst,
        dst_node=dst.node if dst.kind == "pod" else "", proto=over(dial.proto, dial.family),
        dial=endpoint(dst.ip, dial.port),
        outcome=outcome, errno=errno, token=dial.dst if ok else "", tries=tries,
    )  # fmt: skip


def context(base: Context, inventory: Inventory, seen: list[Observation], *, enforcing: bool) -> Context:
    """A run of a variant that enforces policies, or does not, with these observations of B6 instead of its own."""
    gates = tuple(gate for gate in base.variant.gates if gate != "np") + (("np",) if enforcing else ())
    variant = base.variant.model_copy(update={"gates": gates})
    others = tuple(one for one in base.observations if one.batch != "B6")
    return Context(base.spec, variant, inventory, (*others, *seen))
