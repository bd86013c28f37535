"""The vagrant provider: finds a lab again, and takes it away; see `create` for how it is made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from harness.errors import CnilabError, UsageError
from harness.machines import journal
from harness.model import world
from harness.model.labstate import LabDir, no_such_lab
from harness.model.spec import LabSpec
from harness.providers.vagrant import engine, render, state
from harness.providers.vagrant.answers import MISSING, RUNNING
from harness.providers.vagrant.engine import Vagrant
from harness.providers.vagrant.node import VagrantLab, VagrantNode
from harness.providers.vagrant.ssh import Way, control_path

SERVICES = ("kubelet", "containerd")
"""Services of a node that have a log of their own."""

FAR = "far"


def machine_names(spec: LabSpec) -> tuple[str, ...]:
    """Names of all virtual machines, as the Vagrantfile has them."""
    return (*spec.node_names, render.ROUTER)


def lab_of(place: LabDir, known: state.VagrantState) -> VagrantLab:
    """The lab that a state file describes."""
    spec = known.spec

    def way(name: str) -> Way:
        return Way(state.ssh_config(place), name, control_path(place.path, name))

    return VagrantLab(
        name=known.name,
        nodes=tuple(VagrantNode(name, spec.node_address(name), way(name)) for name in spec.node_names),
        router=VagrantNode(render.ROUTER, spec.router_address, way(render.ROUTER)),
        far=VagrantNode(FAR, world.far_host(spec.primary), way(render.ROUTER), render.FAR_NETNS),
        kubeconfig=place.kubeconfig,
    )


def all_machines(lab: VagrantLab) -> list[VagrantNode]:
    """The virtual machines; the far host is in one of them."""
    return [node for node in (*lab.nodes, lab.router) if node is not None]


def find(place: LabDir) -> tuple[state.VagrantState, VagrantLab]:
    """A lab that is up.

    Raises:
        UsageError: There is none, or some of its machines do not answer.
    """
    known = state.read(place)
    if known is None:
        raise no_such_lab(place)
    lab = lab_of(place, known)
    silent = silences(lab) if known.started else {}
    if silent or not known.started:
        msg = f"cluster '{place.name}' is broken"
        facts = [f"{name} does not answer: {why}" for name, why in silent.items()]
        raise UsageError(
            msg,
            cause="\n".join(facts) or "its bring-up did not end",
            next_step=f"'cnilab down {place.name}', then 'cnilab up'",
        )
    return known, lab


def silences(lab: VagrantLab) -> dict[str, str]:
    """Machine to the reason why it does not answer; those that do are not in it."""

    def ask(machine: VagrantNode) -> str:
        try:
            machine.runner.run(["true"])
        except CnilabError as error:
            return error.cause or error.what
        return ""

    machines = all_machines(lab)
    with ThreadPoolExecutor(max(1, len(machines))) as pool:
        found = zip(machines, pool.map(ask, machines), strict=True)
        return {machine.name: why for machine, why in found if why}


def states(place: LabDir, known: state.VagrantState) -> dict[str, str]:
    """Machine to the state that Vagrant knows; empty where it cannot be asked."""
    folder = state.folder(place)
    if not (folder / "Vagrantfile").is_file():
        return {}
    try:
        return Vagrant(folder, known.spec.vagrant.hypervisor, place.path).states()
    except CnilabError:
        return {}


def health(word: str) -> str:
    """What Vagrant's word for a state means: `Running`, `Dead` or `Missing`."""
    return "Running" if word == RUNNING else "Missing" if word in ("", MISSING) else "Dead"


def delete(place: LabDir) -> list[str]:
    """Remove a lab, whatever state it is in. Safe to call again, and after a crash at any moment.

    Returns:
        What could not be removed, in words; empty is good.
    """
    try:
        known = state.read(place)
    except UsageError:
        known = None  # a damaged state file must not keep a lab from being removed
    if known is None and not state.folder(place).is_dir():
        return []
    for machine in all_machines(lab_of(place, known)) if known is not None else ():
        machine.way.close()
    left = engine.end_all(place.path)
    if not left:
        left = _remove(place, (known.spec.vagrant.hypervisor,) if known is not None else ("libvirt", "virtualbox"))
    if not left:
        shutil.rmtree(place.path, ignore_errors=True)
        for parent in (place.state / "labs", place.state):
            _remove_if_empty(parent)
    return left


def _remove(place: LabDir, hypervisors: Sequence[str]) -> list[str]:
    """Vagrant removes what it knows of; then nothing may be there under the lab's names.

    Args:
        place: The lab's directories.
        hypervisors: Those that may have its machines.
    """
    folder, said = state.folder(place), ""
    if (folder / "Vagrantfile").is_file():
        said = Vagrant(folder, hypervisors[0], place.path).destroy()
    left = [one for hypervisor in hypervisors for one in engine.sweep(hypervisor, state.unique_name(place))]
    # What Vagrant could not do may have been done without it.
    asked = any(shutil.which(engine.PROGRAMS[hypervisor]) for hypervisor in hypervisors)
    return left or ([f"machines of cluster {place.name}: {said}"] if said and not asked else [])


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        return


def logs(place: LabDir) -> Iterator[tuple[str, Callable[[], str]]]:
    """Logs of Vagrant, of all machines, and of the services in them."""
    known = state.read(place)
    if known is None:
        return
    if (place.path / "vagrant.log").is_file():
        yield "vagrant.log", partial((place.path / "vagrant.log").read_text, encoding="utf-8", errors="replace")
    if not state.ssh_config(place).is_file():
        return
    lab = lab_of(place, known)
    silent = silences(lab)
    for machine in all_machines(lab):
        if machine.name in silent:
            continue
        yield f"{machine.name}/boot.log", partial(journal, machine, "--boot", "--priority=warning")
        if machine.name == render.ROUTER:
            yield f"{render.ROUTER}/world.jsonl", partial(machine.file, world.LOG)
            continue
        for service in SERVICES:
            yield f"{machine.name}/{service}.log", partial(journal, machine, f"--unit={service}")
