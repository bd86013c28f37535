"""Making the machines of a lab of namespaces: its name is taken first, then they are launched and wired."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from harness import timeouts
from harness.errors import BringUpError
from harness.model import world
from harness.model.family import Address
from harness.model.journal import Journal, now
from harness.model.labstate import require_free
from harness.model.machine import Machine
from harness.model.spec import LabSpec
from harness.providers import limits
from harness.providers.namespaces import cgroups, links, nodespec, state
from harness.providers.namespaces.layout import LabLayout, MachineLayout
from harness.providers.namespaces.provider import NamespaceLab, lab_of
from harness.runner import COPY, CommandError, HostRunner


@dataclass(frozen=True)
class NodeMaterials:
    """Prepared files that machines are made of.

    Args:
        programs: Directory of the lab's programs, `nodeinit` and `responder` among them.
        cni: Directory of the CNI plugins.
        containerd: A containerd root directory with all images unpacked; cloned for each node. None for machines
            without Kubernetes.
    """

    programs: Path
    cni: Path
    containerd: Path | None


def claim(layout: LabLayout, spec: LabSpec, run: Path | None, *, raise_limits: bool = False) -> state.NamespacesState:
    """Take a lab's name: its state file exists from here on.

    Args:
        layout: Directories of the lab.
        spec: The lab.
        run: The run directory of its bring-up.
        raise_limits: Machine-wide limits that are too low may be raised while the lab exists.

    Raises:
        PreflightError: A lab of this name is up or left over from a crash, or the machine's limits are too low.
    """
    require_free(layout)
    raises = limits.raises(spec, allowed=raise_limits)
    fresh = state.NamespacesState(
        name=spec.name,
        created=now(),
        spec=spec,
        owner=os.getpid(),
        run=str(run or ""),
        raised={key: limits.read(key) or 0 for key in raises},
        machines=tuple(state.MachineState(name=name, address=address) for name, address in _addresses(spec).items()),
    )
    state.write(layout, fresh)
    for key, value in raises.items():
        limits.write(key, value)
    return fresh


def _addresses(spec: LabSpec) -> dict[str, Address]:
    return {
        **{name: spec.node_address(name) for name in spec.node_names},
        links.ROUTER: spec.router_address,
        links.FAR: world.far_host(spec.primary),
        links.FABRIC: IPv4Address(0),
    }


def create(
    layout: LabLayout, spec: LabSpec, nodes: Sequence[Machine], materials: NodeMaterials, journal: Journal
) -> NamespaceLab:
    """Make all machines of a claimed lab, wire them, and start their services.

    Args:
        layout: Directories of the lab; `claim` was called for it.
        spec: The lab.
        nodes: The cluster's nodes, the control plane's first.
        materials: Prepared files.
        journal: Gets a step for the machines and one for the wires.

    Raises:
        BringUpError: A machine did not come up.
    """
    machines = [*nodes, *nodespec.surroundings()]
    # The control plane's node is the longest path: it is first in line, and starts while others are prepared.
    with (
        journal.step("up.machines", f"{len(machines)} machines of namespaces"),
        ThreadPoolExecutor(max_workers=max(4, os.cpu_count() or 1)) as pool,
    ):
        launched = list(
            pool.map(lambda one: _launch(layout.machine(one.name), layout.group, spec, one, materials), machines)
        )
    known = _remember(layout, materials, {one.name: reply for one, reply in zip(machines, launched, strict=True)})
    with journal.step("up.wires", "links, addresses and routes"):
        _wire(spec, {machine.name: machine.pid for machine in known.machines})
    return lab_of(layout, known)


def _launch(
    layout: MachineLayout, lab: str, spec: LabSpec, machine: Machine, materials: NodeMaterials
) -> dict[str, int]:
    for relative in nodespec.data_dirs(machine):
        (layout.data / relative).mkdir(parents=True, exist_ok=True)
    for directory in (layout.root, layout.log, layout.cni_upper, layout.cni_work):
        directory.mkdir(parents=True, exist_ok=True)
    for path, file in machine.files.items():
        _write_file(layout.data / path.lstrip("/"), file.content, file.mode)
    if machine.programs and materials.containerd is not None:
        clone_tree(materials.containerd, layout.data / "var/lib/containerd")
    groups = [group / machine.name for group in cgroups.groups(lab)]
    told = nodespec.nodeinit_spec(spec, machine, layout, groups, materials.programs, materials.cni)
    layout.spec.write_text(json.dumps(told, indent=1), encoding="utf-8")
    try:
        done = HostRunner().run([materials.programs / "nodeinit", "launch", layout.spec], timeout=timeouts.NODE_BOOT)
    except CommandError as error:
        msg = f"machine {machine.name} did not come up"
        raise BringUpError(
            msg,
            cause=error.cause,
            where=error.where,
            next_step="run 'cnilab doctor'",
            log=str(layout.log / "nodeinit.log"),
        ) from error
    reply: dict[str, int] = json.loads(done.stdout)
    return reply


def _write_file(path: Path, content: str, mode: int) -> None:
    """Write a file that is never readable by others for even a moment when it must not be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(content)


def clone_tree(source: Path, target: Path) -> None:
    """Clone a containerd root: hard links for what is immutable, copies of the databases.

    Layers and blobs are never changed in place, so that all nodes share one copy on disk and in the page cache.
    A boundary between cache and state directory makes it a plain copy: of file systems, or of mounts of the same one.
    """
    link = ["--link"] if _links_reach(source, target) else []
    HostRunner().run([*COPY, *link, f"{source}/.", target], timeout=timeouts.NODE_BOOT)
    for database in target.rglob("*.db"):
        scratch = database.with_suffix(".copy")
        shutil.copy2(database, scratch)
        scratch.replace(database)


def _links_reach(source: Path, target: Path) -> bool:
    """Whether a file of one directory can have a second name in the other. Mounts matter too (link(2), EXDEV)."""
    file = next((path for path in source.rglob("*") if path.is_file() and not path.is_symlink()), None)
    probe = target / ".cnilab-link"
    try:
        if file is not None:
            probe.hardlink_to(file)
            probe.unlink()
    except OSError:
        return False
    return True


def _remember(
    layout: LabLayout, materials: NodeMaterials, replies: Mapping[str, Mapping[str, int]]
) -> state.NamespacesState:
    known = state.read(layout)
    if known is None:
        msg = f"cluster '{layout.name}' was taken down during its bring-up"
        raise BringUpError(msg)
    machines = tuple(
        machine.model_copy(
            update={"pid": replies[machine.name]["pid"], "started": state.start_time(replies[machine.name]["pid"])}
        )
        for machine in known.machines
    )
    port = next((reply["port"] for reply in replies.values() if "port" in reply), 0)
    known = known.model_copy(update={"machines": machines, "api_port": port, "programs": str(materials.programs)})
    state.write(layout, known)
    return known


def _wire(spec: LabSpec, pids: Mapping[str, int]) -> None:
    """Make all links from within the fabric, then configure every end, all machines at the same time."""
    _batch(pids[links.FABRIC], links.fabric_batch(spec, pids))
    batches = {
        links.ROUTER: links.router_batch(spec, pids[links.FAR]),
        **{name: links.node_batch(spec, name) for name in spec.node_names},
    }
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda item: _batch(pids[item[0]], item[1]), batches.items()))
    _batch(pids[links.FAR], links.far_batch(spec))


def _batch(pid: int, lines: str) -> None:
    # Only the network namespace is entered: the PIDs in `netns PID` are the host's.
    HostRunner(("nsenter", "-t", str(pid), "-n", "--")).run(["ip", "-batch", "-"], input=lines)
