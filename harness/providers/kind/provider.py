"""The kind provider: finds a lab again, and takes it away; see `create` for how it is made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from harness import connection, timeouts
from harness.errors import CnilabError, UsageError
from harness.machines import journal
from harness.model import world
from harness.model.labstate import LabDir, no_such_lab
from harness.providers.kind import clients, outside, state
from harness.providers.kind.answers import KIND, Container
from harness.providers.kind.engine import Engine
from harness.providers.kind.node import KindLab, KindNode, is_local

SERVICES = ("kubelet", "containerd")
"""Services of a node that have a log of their own."""


def in_order(node: Container) -> tuple[bool, int, str]:
    """The control plane first, then worker, worker2, … worker10."""
    return (node.role != "control-plane", len(node.name), node.name)


def lab_of(place: LabDir, known: state.KindState) -> KindLab:
    """The lab that a state file describes."""
    machines = {one.name: KindNode(one.name, one.address, one.id, one.pid) for one in known.machines}
    router = machines.get(outside.ROUTER)
    far = None
    if router is not None:
        far = KindNode(outside.FAR, world.far_host(known.spec.primary), router.container, router.pid, outside.FAR_NETNS)
    return KindLab(
        name=known.name,
        nodes=tuple(machines[name] for name in known.spec.node_names if name in machines),
        router=router,
        far=far,
        kubeconfig=place.kubeconfig,
    )


def find(place: LabDir) -> tuple[state.KindState, KindLab]:
    """A lab that is up.

    Raises:
        UsageError: There is none, or some of its containers do not run.
        PreflightError: The engine does not answer.
    """
    known = state.read(place)
    if known is None:
        raise no_such_lab(place)
    engine = Engine(known.host)
    running = {one.id: one for one in containers(engine, place) if one.running}
    dead = [one.name for one in known.machines if one.id not in running]
    if dead or not known.machines:
        msg = f"cluster '{place.name}' is broken"
        cause = f"not running: {', '.join(dead)}" if dead else "its bring-up did not end"
        raise UsageError(msg, cause=cause, next_step=f"'cnilab down {place.name}', then 'cnilab up'")
    # A container that was started again has another first process.
    machines = tuple(one.model_copy(update={"pid": pid_of(running[one.id])}) for one in known.machines)
    known = known.model_copy(update={"machines": machines})
    return known, lab_of(place, known)


def pid_of(container: Container) -> int:
    """A container's first process, as this machine numbers it; 0 where it is another machine's."""
    return container.pid if is_local(container.id, container.pid) else 0


def containers(engine: Engine, place: LabDir) -> list[Container]:
    """All containers of a lab: kind's own on the lab's network, and those with its labels.

    kind's labels have the cluster's name only, which another lab, or a user, may have given to a cluster, too.
    """
    mine = engine.on_network(state.network_name(place), {KIND: place.name})
    # Nodes have both where their image is the lab's own: see `create.guarded`.
    labelled = [one for one in engine.containers(state.labels(place)) if one.id not in {node.id for node in mine}]
    return [*sorted(mine, key=in_order), *labelled]


def delete(place: LabDir) -> list[str]:
    """Remove a lab, whatever state it is in. Safe to call again, and after a crash at any moment.

    Returns:
        What could not be removed, in words; empty is good.
    """
    try:
        known = state.read(place)
    except UsageError:
        known = None  # a damaged state file must not keep a lab from being removed
    try:
        engine = Engine(known.host if known else "")
    except CnilabError as error:
        # Without a state nothing says that there ever was a container.
        return [f"containers of cluster {place.name}: {error.what}, {error.next_step}"] if known else []
    left = _remove_all(engine, place, came_up=bool(known and known.machines))
    if known is not None and not left:
        shutil.rmtree(place.path, ignore_errors=True)
        for parent in (place.state / "labs", place.state):
            _remove_if_empty(parent)
    return left


def _remove_all(engine: Engine, place: LabDir, *, came_up: bool) -> list[str]:
    """Remove until nothing is there any more; also what comes to be meanwhile, when the lab's maker was killed.

    Args:
        engine: Where.
        place: Directories of the lab.
        came_up: Its bring-up came so far that it made nothing more. Else what its maker itself asked for, and did not
            live to hear of, has no client to be waited for: nothing must be seen twice.

    Returns:
        What is left when the time is over.
    """
    left = ["the engine did not answer in time"]
    nothing = 0
    for _ in timeouts.ticks(timeouts.COMMAND, 0.2, scale=timeouts.stretched):
        clients.end_kind(place)
        # Looked for first: what a client had asked for is there when it has ended.
        working = [f"process {pid}: a client of the engine that is still running" for pid in clients.living(place)]
        try:
            left = _remove(engine, place)
            left = (
                left or [f"container {one.name}: it was created again" for one in containers(engine, place)] or working
            )
        except CnilabError as error:
            left = [f"containers of cluster {place.name}: {error.what}, {error.cause}"]
            if connection.lasting(error, "the engine"):
                break
        nothing = 0 if left else nothing + 1
        if nothing == (1 if came_up else 2):
            break
    return left


def _remove(engine: Engine, place: LabDir) -> list[str]:
    left: list[str] = []

    def attempt(what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except CnilabError as error:
            left.append(f"{what}: {error.cause or error.what}")

    found = containers(engine, place)
    with ThreadPoolExecutor(max(1, len(found))) as pool:
        for one in found:
            pool.submit(attempt, f"container {one.name}", partial(engine.remove, one))
    for network in engine.networks(state.labels(place)):
        attempt(f"network {network.name}", partial(engine.remove_network, network))
    for image in engine.derived(state.labels(place)):
        attempt(f"image {image}", partial(engine.remove_image, image))
    return left


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        return


def logs(place: LabDir) -> Iterator[tuple[str, Callable[[], str]]]:
    """Logs of all containers of a lab, and of the services in them that run."""
    known = state.read(place)
    if known is None:
        return
    engine = Engine(known.host)
    for one in containers(engine, place):
        yield f"{one.name}/console.log", partial(engine.logs, one.id)
        if not one.running:
            continue
        node = KindNode(one.name, IPv4Address(0), one.id, pid_of(one))
        if one.role:
            for service in SERVICES:
                yield f"{one.name}/{service}.log", partial(journal, node, f"--unit={service}")
        else:
            yield f"{outside.ROUTER}/world.jsonl", partial(node.file, world.LOG)
    for name in ("kind.log", "kind.yaml"):
        if (place.path / name).is_file():
            yield name, partial((place.path / name).read_text, encoding="utf-8")
