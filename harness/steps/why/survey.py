"""`cnilab why` without a flow: what is wrong in the whole cluster. A lab or a bring-up that failed ends with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from conformance.causes.survey import survey as surveyed
from conformance.path.places import deciders
from harness.errors import CnilabError
from harness.model.cause import Cause
from harness.model.journal import Journal
from harness.probes import sandboxes
from harness.probes.sandboxes import Sandbox, Sandboxes
from harness.steps.lifecycle.attach import Attached
from harness.steps.suite.trace import End
from harness.steps.why import look
from harness.steps.why.look import Around

MOST: Final = 60
"""Pods of a node whose kernels are read: a pod takes some ten milliseconds there."""


@dataclass(frozen=True)
class Survey:
    """What is to be said of a cluster.

    Args:
        causes: What is wrong, that which troubles most ways first.
        pods: Between which ways were followed.
        blind: Nodes where programs decide that cannot be evaluated, so that little is known of ways through them.
        ways: How many were followed.
        ended: How many of them not to their end.
        unknown: What of them is not known, that of most ways first.
    """

    causes: tuple[Cause, ...]
    pods: tuple[str, ...]
    blind: tuple[str, ...]
    ways: int = 0
    ended: int = 0
    unknown: tuple[str, ...] = ()


def survey(
    attached: Attached, journal: Journal, *, first: Collection[str] = (), around: Around | None = None
) -> Survey:
    """Look at all kernels of a cluster at once, and follow a packet of every kind through them. None is sent.

    Args:
        attached: The cluster.
        journal: Gets a step.
        first: Namespaces whose pods are taken before others.
        around: What is known of a cluster that nobody here made; None: it is one of ours.

    Raises:
        BringUpError: The API does not answer.
    """
    with journal.step("why.survey", "the kernels of all nodes"):
        with ThreadPoolExecutor(3) as pool:
            listed, taken = pool.submit(look.api, attached.kube), pool.submit(sandboxes.take, attached.lab)
            ruled = pool.submit(attached.kube.list, "networking.k8s.io/v1", "NetworkPolicy")
            known, stock, policies = listed.result(), taken.result(), ruled.result()
        apart = {item["metadata"]["namespace"] for item in policies}
        pods = tuple(chosen((one for one in stock.sandboxes if one.namespace not in apart), first))
        for family in attached.spec.families:
            meant = Sandboxes(stock.nodes, pods)
            pods = look.as_given(attached, meant, [one.key for one in pods], family).sandboxes
        ends = [End(one.key, one.ip, None, one, None) for one in pods]
        seen = look.context(attached, stock, ends, known, around)
        local = frozenset(_only_local(known.services, apart))
        blind = [node.name for node in seen.inventory.nodes if deciders(seen, node.name)]
        found = surveyed(seen, local)
        keys = tuple(one.key for one in pods)
        return Survey(found.causes, keys, tuple(blind), found.ways, found.ended, found.unknown)


def chosen(pods: Iterable[Sandbox], first: Collection[str] = ()) -> Iterator[Sandbox]:
    """Pods with a network of their own, up to a number of each node: those of some namespaces first, the system's last.

    Args:
        pods: All of them.
        first: Namespaces whose pods are taken before others.
    """
    own = [one for one in pods if not one.host_network]
    own.sort(key=lambda one: (one.namespace not in first, one.namespace.startswith("kube-"), one.key))
    count: dict[str, int] = {}
    for one in own:
        count[one.node] = count.get(one.node, 0) + 1
        if count[one.node] <= MOST:
            yield one


def _only_local(services: Iterable[dict[str, Any]], apart: Collection[str]) -> Iterator[str]:
    """Services that need not lead from everywhere to everywhere: by their own will, or by a policy's."""
    for item in services:
        meta = item["metadata"]
        if item["spec"].get("internalTrafficPolicy") == "Local" or meta["namespace"] in apart:
            yield f"{meta['namespace']}/{meta['name']}"


def after(attached: Attached, journal: Journal, *, first: Collection[str] = ()) -> tuple[Cause, ...]:
    """The same where something has failed already: what cannot be looked at is no failure of its own.

    Args:
        attached: The cluster.
        journal: Gets a step.
        first: Namespaces whose pods are taken before others.
    """
    try:
        return survey(attached, journal, first=first).causes
    except CnilabError:
        return ()
