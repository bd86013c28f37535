"""From one pod network to another on the same nodes, without a trace of the first.

Everything that can be refused is refused before anything is touched. Then: images of the second network to the nodes,
pods out, agents of the first away, its things off the nodes, and an inventory that must show bare nodes. Only then the
second network comes up, and pods come back. A switch that was interrupted is repeated: every part finds its work done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.cni import catalogue, networks
from harness.cni.residue import Residue, bare, residue
from harness.components.store import Store
from harness.errors import UsageError
from harness.model import labstate
from harness.model.family import TITLE
from harness.model.injection import require_none
from harness.model.journal import Journal
from harness.model.labstate import LabDir
from harness.model.netstate import NetState
from harness.model.node import Node
from harness.model.run import RunDir
from harness.model.spec import MIN_IPV6_MTU, LabSpec
from harness.model.variant import Variant
from harness.probes import netstate
from harness.providers import registry
from harness.steps.doctor import examine
from harness.steps.doctor.checks import CHECKS
from harness.steps.lifecycle import watchdog
from harness.steps.lifecycle.attach import Attached
from harness.steps.lifecycle.images import load_images
from harness.steps.lifecycle.up import start_network
from harness.steps.network import moving, uninstall

Object = dict[str, Any]

EVIDENCE = "switch"
"""Directory in the run directory: inventories before, between and after."""


@dataclass(frozen=True)
class Switched:
    """What a switch did.

    Args:
        ready: The lab with its new network.
        moved: Pods that were in the pod network.
        removed: Commands that took things away, by node.
        left: What of the first network could not be removed.
    """

    ready: Attached
    moved: int
    removed: dict[str, list[str]]
    left: list[Residue]


def check(ready: Attached, variant: Variant, *, cache: Path, version: str = "") -> None:
    """Refuse what cannot work, before anything is touched.

    Args:
        ready: The lab.
        variant: The second network.
        cache: The cache directory, for doctor.
        version: Of the second network; empty for the pinned one.

    Raises:
        UsageError: The lab has that network already, its provider cannot, the network has not its IP families, or some
            pods cannot be moved. Or faults are injected: how they are undone is known for the first network only.
        PreflightError: The kernel lacks what the variant needs.
    """
    if ready.spec.provider != "namespaces":
        msg = f"the provider '{ready.spec.provider}' does not support switching the network"
        raise UsageError(msg, next_step="take the cluster down and bring it up with the other variant")
    require_none(LabDir(ready.state, ready.spec.name), "'cnilab switch'")
    known = registry.known_state(LabDir(ready.state, ready.spec.name))
    same = (variant.name, version) == (ready.variant.name, ready.spec.cni_version)
    if same and known is not None and known.ready:
        msg = f"cluster '{ready.spec.name}' has the network '{' '.join(filter(None, (variant.name, version)))}' already"
        raise UsageError(msg, next_step="choose another variant; 'cnilab render VARIANT' shows each one")
    networks.network(variant)
    target = target_spec(ready.spec, variant, version)
    _fits(target, variant)
    needed = [one for one in CHECKS if one.id in catalogue.needs(target)]
    examine.require(target, state=ready.state, cache=cache, checks=needed)
    moving.require_movable(ready.kube.list("v1", "Pod"))


def _fits(target: LabSpec, variant: Variant) -> None:
    """Insist on a network that can give pods the IP families that the cluster has, on the nodes' links."""
    lacking = sorted(set(target.families) - set(variant.families))
    if lacking:
        titles = " and no ".join(TITLE[family] for family in lacking)
        msg = f"the network '{variant.name}' has no {titles}, but cluster '{target.name}' does"
        cause = f"it was made with ipFamily {target.ip_family}: its nodes and Services keep their families"
        step = "choose another variant, or bring up another cluster with this one and --ip-family ipv4"
        raise UsageError(msg, cause=cause, next_step=step)
    mtu = target.underlay.mtu
    left = catalogue.of(target).expect.of("ipv6").pod_mtu(mtu)
    if "ipv6" in target.families and left < MIN_IPV6_MTU:
        msg = f"the network '{variant.name}' leaves pods no room for IPv6"
        cause = f"underlay.mtu {mtu} - {mtu - left} that it takes = {left} bytes, but IPv6 needs {MIN_IPV6_MTU}"
        step = "choose a variant that takes less, or bring up a cluster with a larger --mtu"
        raise UsageError(msg, cause=cause, next_step=step)


def target_spec(spec: LabSpec, variant: Variant, version: str = "") -> LabSpec:
    """The lab's spec with another network, or another version of it."""
    return spec.model_copy(update={"cni": variant.name, "cni_version": version})


def switch(
    ready: Attached, variant: Variant, *, run: RunDir, journal: Journal, store: Store, version: str = ""
) -> Switched:
    """Take a lab's network away and give it another one. `check` was called.

    Args:
        ready: The lab.
        variant: The second network.
        run: The run directory of the lab's life with the second network.
        journal: Gets a step for every part.
        store: Delivers images.
        version: Of the second network; empty for the pinned one.

    Raises:
        CnilabError: A part failed. The lab stays as it is then; the same call goes on from there.
    """
    place = LabDir(ready.state, ready.spec.name)
    nodes, api, target = ready.lab.nodes, ready.kube, target_spec(ready.spec, variant, version)
    with journal.step("switch.images", f"images of {variant.name} to {len(nodes)} nodes") as detail:
        detail["loaded"] = load_images(nodes, store, networks.images(store.lock, target, variant))
        store.ensure(networks.components(target, variant))
    remember(place, ready=False, owner=os.getpid())
    before = _inventory(run, "before", nodes, journal)
    with journal.step("switch.pods", "delete pods of the old network") as detail:
        copies = keep(place, moving.copies(api.list("v1", "Pod")))
        moving.taint(api, on=True)
        detail["pods"] = moved = moving.drain(api, nodes)
    with journal.step("switch.agents", f"delete agents and objects of {ready.variant.name}"):
        uninstall.remove_objects(ready)
    with journal.step("switch.clean", f"delete what {ready.variant.name} left on the nodes") as detail:
        if not variant.kube_proxy:
            uninstall.each(nodes, uninstall.stop_proxy)
        detail["commands"] = removed = uninstall.clean_nodes(ready)
    with journal.step("switch.residue", "verify that nothing of the old network is left") as detail:
        between = _inventory(run, "between", nodes, None)
        left = _left(ready, variant, before, between, store)
        detail["left"] = [str(one) for one in left]
    networks.deliver(store, place, target, variant)  # not before: what is removed is known by its own chart
    remember(place, spec=target, run=str(run.path))
    ready = replace(ready, spec=target, variant=variant, run=run)
    if variant.kube_proxy:
        uninstall.each(nodes, uninstall.start_proxy)
    moving.taint(api, on=False)
    start_network(ready, journal, watchdog.Watchdog(place, api), "switch")
    with journal.step("switch.back", "create pods without a controller again") as detail:
        detail["pods"] = moving.post(api, copies)
        moved_pods(place).unlink(missing_ok=True)
    _inventory(run, "after", nodes, journal)
    remember(place, ready=True)
    return Switched(ready, moved, removed, left)


def remember(place: LabDir, **changes: Any) -> None:
    """Write down what has changed of what is known of a lab."""
    known = registry.known_state(place)
    if known is not None:
        labstate.write(place, known.model_copy(update=changes))


def _inventory(run: RunDir, when: str, nodes: Sequence[Node], journal: Journal | None) -> list[NetState]:
    states = netstate.take(nodes)
    path = run.directory(EVIDENCE) / f"{when}.json"
    path.write_text(json.dumps([one.model_dump(mode="json") for one in states], indent=1) + "\n", encoding="utf-8")
    if journal is not None:
        journal.note(f"switch.{when}", f"inventory {when} the switch", file=f"{EVIDENCE}/{when}.json")
    return states


def moved_pods(place: LabDir) -> Path:
    """Where copies of pods are kept while they have no network to be in."""
    return place.path / "moved-pods.json"


def keep(place: LabDir, copies: list[Object]) -> list[Object]:
    """Write the copies where an interrupted switch finds them again; with those that an earlier one had kept."""
    path = moved_pods(place)
    kept: list[Object] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    names = {(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in copies}
    kept = [pod for pod in kept if (pod["metadata"]["namespace"], pod["metadata"]["name"]) not in names] + copies
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return kept


def _left(
    ready: Attached, variant: Variant, before: Sequence[NetState], between: Sequence[NetState], store: Store
) -> list[Residue]:
    """What is on the nodes and not a bare node's, and what is in the API and not a bare cluster's."""
    plugins = [path.name for path in store.cni_dir().iterdir()]
    expected = bare(
        ready.spec, plugins, foreign(ready, before), kube_proxy=ready.variant.kube_proxy and variant.kube_proxy
    )
    return [one for state in between for one in residue(state, expected)] + uninstall.left_in_api(ready)


def foreign(ready: Attached, before: Sequence[NetState]) -> list[str]:
    """Pods in nodes' own networks that are none of the driver's workloads."""
    names = tuple(f"{workload.rpartition('/')[2]}-" for workload in ready.variant.workloads)
    return [key for state in before for key in state.agents if not names or not key.partition("/")[2].startswith(names)]
