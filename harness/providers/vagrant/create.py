"""Makes the machines of a lab with Vagrant, and gives them what the playbooks do not bring."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from harness import timeouts
from harness.errors import BringUpError
from harness.files import write_below, write_private
from harness.machines import log_commands, mount
from harness.model import labstate
from harness.model.journal import Journal, now
from harness.model.labstate import LabDir
from harness.model.node import Node
from harness.model.spec import LabSpec
from harness.providers.vagrant import provider, render, state
from harness.providers.vagrant.answers import Progress
from harness.providers.vagrant.engine import Vagrant
from harness.providers.vagrant.node import VagrantLab, VagrantNode
from harness.runner import stop

T = TypeVar("T")

TOOLS = "/opt/cnilab/bin"
PLUGINS = "/opt/cni/bin"

_SESSIONS = "MaxSessions 200\nMaxStartups 200\n"
"""A lab runs many programs at a time over one connection; sshd gives up at ten of them (sshd_config(5))."""


@dataclass(frozen=True)
class VagrantMaterials:
    """Prepared files.

    Args:
        programs: Directory of programs for this machine: `kubectl` among them.
        responder: The responder program, for nodes and router.
        cni: Directory of the CNI plugins.
        loads: Full name of an image to its archive: what nodes get unless they have it.
        file_systems: Directory of a node to the type of file system that must be mounted there before agents start.
    """

    programs: Path
    responder: Path
    cni: Path
    loads: Mapping[str, Path]
    file_systems: Mapping[str, str]


def claim(place: LabDir, spec: LabSpec, run: Path | None) -> state.VagrantState:
    """Take a lab's name: its state file exists from here on.

    Raises:
        PreflightError: A lab of this name is there.
    """
    labstate.require_free(place)
    fresh = state.VagrantState(
        name=spec.name,
        created=now(),
        spec=spec,
        owner=os.getpid(),
        run=str(run or ""),
        api_port=spec.vagrant.api_port,
    )
    labstate.write(place, fresh)
    return fresh


def machines(place: LabDir, spec: LabSpec, files: Mapping[str, str], journal: Journal) -> VagrantLab:
    """Make the machines of a claimed lab, and reach all of them.

    Args:
        place: Directories of the lab.
        spec: The lab.
        files: What was rendered, by relative path.
        journal: Gets a step, with a note for whatever happens to a machine.

    Raises:
        BringUpError: Vagrant gave up.
        CommandError: A machine cannot be reached.
    """
    folder = state.folder(place)
    write_below(folder, files)
    vagrant = Vagrant(folder, spec.vagrant.hypervisor, place.path)

    def tell(step: Progress) -> None:
        journal.note("up.machines", f"{step.machine}: {step.text}" if step.machine else step.text)

    with journal.step("up.machines", f"vagrant creates {spec.nodes + 1} machines"):
        for names in render.turns(spec, len(os.sched_getaffinity(0))):
            vagrant.up(names, place.path / "vagrant.log", tell)
        write_private(state.ssh_config(place), vagrant.ssh_config())
    known = state.read(place)
    if known is None:
        msg = f"cluster '{place.name}' was taken down during its bring-up"
        raise BringUpError(msg)
    lab = provider.lab_of(place, known)
    with journal.step("up.ssh", "ssh connection to every machine"):
        _each(provider.all_machines(lab), _open)
    labstate.write(place, known.model_copy(update={"started": True}))
    return lab


def _open(machine: VagrantNode) -> None:
    """Log in for the first time, and have room for many programs in every later connection."""
    drop_in = "/etc/ssh/sshd_config.d/lab.conf"
    machine.runner.run(["mkdir", "-p", "/etc/ssh/sshd_config.d"], timeout=timeouts.NODE_READY)
    if machine.runner.run(["cat", drop_in], check=False).stdout != _SESSIONS:
        machine.runner.run(["tee", drop_in], input=_SESSIONS)
        # Told to reload, it would go on by itself, and listen to nobody for a while; open connections survive.
        machine.runner.run(["systemctl", "restart", "ssh"], timeout=timeouts.NODE_READY)
    machine.way.close()


def give_programs(lab: VagrantLab, materials: VagrantMaterials, journal: Journal) -> None:
    """Give the machines the responder, and nodes the CNI plugins that they lack.

    Args:
        lab: Its machines are reached.
        materials: Prepared files.
        journal: Gets a step.
    """
    responder = {f"{TOOLS}/responder": materials.responder}
    plugins = {f"{PLUGINS}/{path.name}": path for path in sorted(materials.cni.iterdir())}
    wanted: list[tuple[Node, Mapping[str, Path]]] = [(node, {**responder, **plugins}) for node in lab.nodes]
    if lab.router is not None:
        wanted.append((lab.router, responder))
    with journal.step("up.programs", f"programs to {len(wanted)} machines"):
        _each(wanted, lambda item: _give(*item))


def _give(machine: Node, files: Mapping[str, Path]) -> None:
    """Copy what is not there in that size: programs of one version have one."""
    listing = machine.runner.run(["stat", "--format=%n %s", *files], check=False).stdout
    there = dict(line.rsplit(" ", 1) for line in listing.splitlines() if " " in line)
    missing = {path: source for path, source in files.items() if there.get(path) != str(source.stat().st_size)}
    if missing:
        machine.runner.run(["mkdir", "-p", *sorted({str(PurePosixPath(path).parent) for path in missing})])
    for path, source in missing.items():
        put(machine, source, path)


def put(machine: Node, source: Path, path: str) -> None:
    """Copy a program to a machine; it is whole as soon as it has its name.

    Args:
        machine: Where.
        source: A file of this machine.
        path: Absolute, over there.

    Raises:
        BringUpError: It could not be copied.
    """
    draft = f"{path}.new"
    argv = ["dd", f"of={draft}", "bs=1M", "status=none"]
    with (
        source.open("rb") as file,
        machine.runner.start(argv, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process,
    ):
        try:
            out, _ = process.communicate(timeout=timeouts.stretched(timeouts.ROLLOUT))
        except subprocess.TimeoutExpired as error:
            msg = f"{source.name} was not copied to {machine.name} within {timeouts.stretched(timeouts.ROLLOUT):.0f} s"
            raise BringUpError(msg, where=path) from error
        finally:
            stop(process)
    if process.returncode:
        msg = f"{source.name} cannot be copied to {machine.name}"
        raise BringUpError(msg, cause=out.decode(errors="replace").strip(), where=path)
    machine.runner.run(["chmod", "0755", draft])
    machine.runner.run(["mv", "-f", draft, path])


def prepare_nodes(
    lab: VagrantLab, materials: VagrantMaterials, load: Callable[[Node, Mapping[str, Path]], object]
) -> None:
    """What nodes of a lab have on every provider, once there is a cluster: images, mounts, and a log where labs look.

    Args:
        lab: Its playbook has run.
        materials: Prepared files.
        load: Gives a node images.
    """

    def prepare(node: VagrantNode) -> None:
        mount(node, materials.file_systems)
        for argv in log_commands("containerd"):
            node.runner.run(argv)
        load(node, materials.loads)

    _each(lab.nodes, prepare)


def _each(items: Sequence[T], do: Callable[[T], object]) -> None:
    with ThreadPoolExecutor(max(1, len(items))) as pool:
        list(pool.map(do, items))
