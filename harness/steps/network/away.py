"""A cluster without its pod network for a moment: the network is taken away as for a switch, and put back.

It is put back whatever happens meanwhile. A cluster that was left without one because this process was killed, or
because the network did not come up again, is repaired by `cnilab switch` to the same network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from harness.cni.residue import Residue
from harness.model.journal import Journal
from harness.model.labstate import LabDir
from harness.model.netstate import NetState
from harness.probes import netstate
from harness.steps.lifecycle import watchdog
from harness.steps.lifecycle.attach import Attached
from harness.steps.lifecycle.up import start_network
from harness.steps.network import moving, switch, uninstall


@dataclass(frozen=True)
class Looked:
    """Nodes with their network, and without it.

    Args:
        before: Inventories of all nodes with it.
        between: The same without it.
        api: What was left of it in the API.
        agents: Pods in nodes' own networks that are none of its workloads.
    """

    before: Sequence[NetState]
    between: Sequence[NetState]
    api: Sequence[Residue]
    agents: Sequence[str]


def without_network(ready: Attached, journal: Journal) -> Looked:
    """Take a cluster's network away, look, and give it back.

    Args:
        ready: The cluster; `require_movable` holds for its pods.
        journal: Gets a step for every part.

    Raises:
        UsageError: Some pods cannot be moved.
        CnilabError: A part failed.
    """
    moving.require_movable(ready.kube.list("v1", "Pod"))
    before = netstate.take(ready.lab.nodes)
    with _away(ready, journal):
        between = netstate.take(ready.lab.nodes)
        api = uninstall.left_in_api(ready)
    return Looked(before, between, api, switch.foreign(ready, before))


@contextmanager
def _away(ready: Attached, journal: Journal) -> Iterator[None]:
    """The body runs without the network, which is back when it has ended, with all pods that nobody else makes."""
    place, nodes, api = LabDir(ready.state, ready.spec.name), ready.lab.nodes, ready.kube
    switch.remember(place, ready=False, owner=os.getpid())
    copies = switch.keep(place, moving.copies(api.list("v1", "Pod")))
    try:
        with journal.step("test.removal.away", f"take {ready.variant.name} off all nodes"):
            moving.taint(api, on=True)
            moving.drain(api, nodes)
            uninstall.remove_objects(ready)
            uninstall.clean_nodes(ready)
        yield
    finally:
        moving.taint(api, on=False)
        start_network(ready, journal, watchdog.Watchdog(place, api), "test.removal")
        with journal.step("test.removal.back", "create pods without a controller again"):
            moving.post(api, copies)
            switch.moved_pods(place).unlink(missing_ok=True)
        switch.remember(place, ready=True)
