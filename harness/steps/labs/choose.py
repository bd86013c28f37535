"""Which labs there are, and which make sense on a cluster: what they need, and what it offers."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.errors import UsageError
from harness.model import labfile
from harness.model.family import TITLE, Family
from harness.model.features import gates
from harness.model.lab import LabDefinition, Needs
from harness.model.spec import ALL_LABS
from harness.steps.lifecycle.around import around
from harness.steps.lifecycle.attach import Attached


@functools.cache
def list_labs() -> tuple[LabDefinition, ...]:
    """All labs of the project, in order of their ids.

    Raises:
        SpecError: A lab file is wrong.
    """
    return tuple(labfile.read_all())


@dataclass(frozen=True)
class Ability:
    """What a cluster offers to labs.

    Args:
        gates: Features that hold.
        nodes: How many.
        driver: Of the CNI variant.
        wire: How packets between nodes look.
        proxy: Mode of kube-proxy.
        masquerade: Who masquerades what pods send to the outside.
        families: IP families of its pods.
        kubernetes: There is a cluster at all.
    """

    gates: frozenset[str]
    nodes: int
    driver: str
    wire: str
    proxy: str
    masquerade: str = ""
    families: tuple[Family, ...] = ("ipv4",)
    kubernetes: bool = True


def ability(attached: Attached) -> Ability:
    """What the attached cluster offers."""
    truth = gates(attached.variant, len(attached.lab.nodes), around(attached.lab))
    return Ability(
        frozenset(gate for gate, holds in truth.items() if holds),
        len(attached.lab.nodes),
        attached.variant.driver,
        attached.variant.expect.wire.kind,
        attached.spec.kubernetes.proxy_mode,
        attached.variant.expect.masquerade,
        attached.spec.families,
        attached.variant.kubernetes,
    )


def lacking(needs: Needs, has: Ability) -> str:
    """Why a lab makes no sense on a cluster; empty when it does."""
    missing = [f"feature '{gate}'" for gate in needs.gates if gate not in has.gates]
    missing += [f"{TITLE[family]} addresses of pods" for family in needs.families if family not in has.families]
    if needs.nodes > has.nodes:
        missing.append(f"{needs.nodes} nodes (there is {has.nodes})")
    for what, wanted, found in (
        ("driver", needs.driver, has.driver),
        ("wire format", needs.wire, has.wire),
        ("kube-proxy mode", needs.proxy, has.proxy),
        ("masquerade by", needs.masquerade, has.masquerade),
    ):
        if wanted and found not in wanted:
            missing.append(f"{what} {' or '.join(wanted)} (here: {found})")
    return "needs " + ", ".join(missing) if missing else ""


def unlike(lab: LabDefinition, has: Ability) -> str:
    """Why a lab is for another kind of machines; empty when it is for these."""
    if lab.bare == (not has.kubernetes):
        return ""
    if lab.bare:
        return f"needs machines without Kubernetes; 'cnilab apply {lab.id}' makes its own"
    return "needs Kubernetes; 'cnilab up flannel' makes a cluster"


def put_off(lab: LabDefinition, asked: Collection[str]) -> str:
    """Why a lab that would make sense does not run: it takes long, and nobody asked for it."""
    if not lab.long or asked:
        return ""
    why = "changes the network of the whole cluster for a time" if lab.alone else "takes long"
    return f"{why}; 'cnilab apply {lab.id}' or 'apply {ALL_LABS}' runs it"


def bare_ids(only: Collection[str]) -> tuple[str, ...]:
    """Those among ids that need no cluster.

    Raises:
        UsageError: An id is unknown.
    """
    return tuple(lab.id for lab in choose(list_labs(), only) if lab.bare and lab.id in only)


def choose(labs: Sequence[LabDefinition], only: Collection[str]) -> list[LabDefinition]:
    """The labs with the given ids, or all.

    Raises:
        UsageError: An id is unknown.
    """
    known = {ALL_LABS, *(lab.id for lab in labs)}
    for unknown in sorted(set(only) - known):
        near = difflib.get_close_matches(unknown, known, n=1)
        msg = f"there is no lab with the id {unknown[:60]!r}"
        raise UsageError(msg, next_step=f"did you mean '{near[0]}'?" if near else "cnilab labs list")
    return [lab for lab in labs if lab.id in only or not only or ALL_LABS in only]
