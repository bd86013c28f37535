"""A network that is taken off its nodes, and put back: what it leaves behind."""

from __future__ import annotations

from collections.abc import Sequence

from harness.model.disturbed import Removal
from harness.model.journal import Journal
from harness.steps.lifecycle.attach import Attached
from harness.steps.network.away import without_network


def observe_removal(ready: Attached, journal: Journal, plugins: Sequence[str]) -> list[Removal]:
    """Take the network away, look at the bare nodes, and give it back.

    Args:
        ready: The cluster.
        journal: Gets a step for every part.
        plugins: Names of the CNI plugins that every node has before any network.

    Raises:
        CnilabError: The network could not be taken away, or did not come back.
    """
    looked = without_network(ready, journal)
    first = ready.lab.nodes[0].name
    return [
        Removal(
            batch="B9", src=before.node, installed=before, bare=after, plugins=tuple(sorted(plugins)),
            agents=tuple(looked.agents), kube_proxy=ready.variant.kube_proxy,
            api=tuple(f"{one.kind} {one.what}" for one in looked.api) if before.node == first else (),
        )
        for before, after in zip(looked.before, looked.between, strict=True)
    ]  # fmt: skip
