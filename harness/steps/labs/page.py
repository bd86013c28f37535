"""Which lab runs where, `python -m harness.steps.labs.page > docs/parity.md`; a test keeps it up to date."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, get_args

from harness.cni import catalogue
from harness.model.family import TITLE
from harness.model.features import gates
from harness.model.lab import Chapter, LabDefinition, Needs
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.steps.labs.choose import Ability, lacking, list_labs

HEAD: Final = """# Which lab runs where

A lab says what it needs of a cluster, and never which network it is for. This page says what follows from that. It is
made from the labs and the variants (`python -m harness.steps.labs.page`), for clusters of two nodes with both IP
families where the network has them. `cnilab apply` decides by the same rules, and says the same reasons.

- **namespaces**: all labs of the tables below, and all labs without a cluster.
- **kind** and **Vagrant**: nodes, router, far host and captures are as on namespaces, so the same labs run. There are
  no labs without a cluster. [Evidence](evidence.md) says what was seen there.
- **existing** clusters have no labs: they would break things on purpose.

`yes`: the lab runs. `long`: it runs when it is asked for, because it takes long or changes the network of the whole
cluster. `-`: the network lacks what the lab needs, which the last column says. [Gates](conformance.md#gates) explains
the features.
"""

BARE: Final = """## Without a cluster

These labs run on machines without Kubernetes, which `cnilab apply` makes for them:
"""

NODES: Final = 2


def abilities() -> dict[str, Ability]:
    """What a cluster of each variant offers to labs, where machine and provider have all."""
    return {name: _ability(catalogue.variant(name)) for name in catalogue.names()}


def _ability(variant: Variant) -> Ability:
    truth = gates(variant, NODES, {"router": True, "far": True, "cap": True})
    return Ability(
        frozenset(gate for gate, holds in truth.items() if holds),
        NODES,
        variant.driver,
        variant.expect.wire.kind,
        LabSpec().kubernetes.proxy_mode,
        variant.expect.masquerade,
        variant.families,
    )


def page() -> str:
    """The whole page."""
    labs = list_labs()
    has = abilities()
    parts = [HEAD]
    for chapter in get_args(Chapter):
        its = [lab for lab in labs if lab.chapter == chapter and not lab.bare]
        if its:
            parts.append("\n".join(_table(chapter, its, has)))
    bare = [lab for lab in labs if lab.bare]
    if bare:
        parts.append(BARE + "\n" + "\n".join(f"- {_link(lab)}: {lab.title}" for lab in bare) + "\n")
    return "\n".join(parts)


def _table(chapter: str, labs: Sequence[LabDefinition], has: dict[str, Ability]) -> Iterator[str]:
    yield f"## {chapter}\n"
    yield _row(["lab", *has, "needs"])
    yield _row("---" for _ in range(len(has) + 2))
    for lab in labs:
        yield _row([_link(lab), *(_cell(lab, one) for one in has.values()), wants(lab.needs) or "any network"])
    yield ""


def _cell(lab: LabDefinition, has: Ability) -> str:
    if lacking(lab.needs, has):
        return "-"
    return "long" if lab.long else "yes"


def wants(needs: Needs) -> str:
    """What a lab needs, in words; empty where any cluster will do."""
    words = [f"`{gate}`" for gate in needs.gates]
    words += [TITLE[family] for family in needs.families if family != "ipv4"]
    words += [f"{needs.nodes} nodes"] if needs.nodes > 1 else []
    for what, wanted in (
        ("{}", needs.driver),
        ("packets on the wire: {}", needs.wire),
        ("kube-proxy: {}", needs.proxy),
        ("masquerade by {}", needs.masquerade),
    ):
        words += [what.format(" or ".join(wanted))] if wanted else []
    return ", ".join(words)


def _link(lab: LabDefinition) -> str:
    return f"[{lab.id}](../labs/{lab.id}/README.md)"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(page())
