"""A lab under another kernel: the machine that it lives in, and this program run in there.

Everything that makes, uses and judges the lab is the same program with the same words, only inside; what it writes to
the run directory is seen outside at once. Outside there is a state file, a kubeconfig, and the way in.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from harness import resources, timeouts
from harness.components import kernel_package
from harness.components.store import Store
from harness.errors import CnilabError, PreflightError
from harness.files import write_private
from harness.model import labstate
from harness.model.journal import Journal, now
from harness.model.spec import LabSpec
from harness.model.wellknown import EMULATED, INSIDE
from harness.providers.namespaces import cgroups
from harness.providers.namespaces import state as states
from harness.providers.namespaces.layout import LabLayout
from harness.runner import COPY, HostRunner
from harness.vm import machine, qemu
from harness.vm.channel import WATCHED, Patience, own

if TYPE_CHECKING:
    from harness.providers.protocol import Needs

FOLDER = "vm"
"""Of a lab's directory: the machine's files. Where it is there, the lab lives in a machine."""

CACHE = "cache"
"""Of the state directory inside: the cache as it is there."""

BYTECODE = "bytecode"
"""Of the cache, here and inside: compiled modules. To compile them on an emulated processor takes half a minute."""

FAST_CLOCK = "CNILAB_VM_FAST"
"""1: an emulated machine uses two cores and the real time. Twice as fast where nothing else runs; where something does,
things in there are late and end. See `steady` of harness.vm.qemu.Hardware."""

_CODE = (Path(sys.prefix), Path(sys.base_prefix), resources.root())
"""Where modules are, here and inside."""

TOOLS = ("qemu-system-x86_64", "mkfs.ext4", "busybox", "unshare", "depmod")

_PASSED_ON = (
    "CI",
    "COLUMNS",
    "FORCE_COLOR",
    "HOME",
    "NO_COLOR",
    "PATH",
    "TERM",
    "TOX_ENV_NAME",
    "XDG_CONFIG_HOME",
)


@dataclass(frozen=True)
class Program:
    """This program, as it is run inside.

    Args:
        argv: Words before those of a user.
        modules: What most of its commands import, and all that these import.
        variables: Of its environment, beside those that the machine decides: what the user said in options.
    """

    argv: tuple[str, ...]
    modules: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Inside:
    """A lab's machine, as those see it who run something there.

    Args:
        state: What is known of it.
        layout: The lab's directories.
        program: This program.
    """

    state: machine.VmState
    layout: LabLayout
    program: Program

    def answers(self) -> bool:
        """Programs can be run in there; what never got so far, or hangs, need not be asked."""
        return machine.door(self.state).answers()

    def cnilab(
        self,
        words: Sequence[str],
        *,
        stdin: int | None = None,
        tty: bool = False,
        out: TextIO | None = None,
        patience: Patience = WATCHED,
    ) -> int:
        """Run this program with these words; returns its exit code.

        Args:
            words: As the user gave them.
            stdin: A descriptor that it may read.
            tty: It gets a terminal.
            out: Where its standard output goes; by default to our own.
            patience: When to go on without it.
        """
        argv = [*self.program.argv, *words]
        env = environment({**os.environ, **self.program.variables}, self.layout, self.state.accelerator)
        return machine.door(self.state).run(
            argv, cwd=Path.cwd(), env=env, stdin=stdin, tty=tty, out=own(out) if out else None, patience=patience
        )


def wanted(spec: LabSpec) -> bool:
    """Whether a lab is to live in a machine with another kernel, and this is not that machine."""
    return spec.kernel != "host" and not os.environ.get(INSIDE)


def find(state: Path, name: str, program: Program) -> Inside | None:
    """The machine that a lab lives in; None for one that lives here, and for one that is not there."""
    layout = LabLayout(state, name)
    known = machine.find(layout.path / FOLDER)
    return Inside(known, layout, program) if known else None


def environment(outside: Mapping[str, str], layout: LabLayout, accelerator: str) -> dict[str, str]:
    """What a program in the machine gets to know. Nothing is fetched there: there is no network.

    Args:
        outside: Our own environment, and what the user said in options.
        layout: The lab's directories.
        accelerator: Decides how patient to be.
    """
    kept = {key: value for key, value in outside.items() if key in _PASSED_ON or key.startswith("CNILAB_")}
    factor = timeouts.factor() * machine.SLOWER.get(accelerator, 1.0)
    return {
        "PYTHONUNBUFFERED": "1",
        **kept,
        "CNILAB_APT": "no",
        "CNILAB_OFFLINE": "1",
        "CNILAB_CACHE": str(layout.state / CACHE),
        "CNILAB_STATE": str(layout.state),
        timeouts.VARIABLE: f"{factor:g}",
        "PYTHONPYCACHEPREFIX": str(layout.state / CACHE / BYTECODE),
        INSIDE: layout.name,
        **({EMULATED: "1"} if accelerator == "tcg" else {}),
    }


def start(
    spec: LabSpec,
    run: Path | None,
    store: Store,
    state: Path,
    journal: Journal,
    program: Program,
    needs: Needs | None = None,
) -> Inside:
    """Start the machine of a lab.

    Args:
        spec: The lab; its kernel decides.
        run: The run directory; None keeps nothing.
        store: Delivers the kernel, and all that the lab inside will want.
        state: The state directory of all labs.
        journal: Gets a step for every part.
        program: What will be run inside.
        needs: What the lab inside takes from the store; None where there will be none.

    Raises:
        CnilabError: It did not come up; what was made is there for `down` to remove.
    """
    layout = LabLayout(state, spec.name)
    machine.require_short(layout.path / FOLDER)
    labstate.require_free(layout)
    known = states.NamespacesState(name=spec.name, created=now(), spec=spec, owner=os.getpid(), run=str(run or ""))
    states.write(layout, known)
    if run is not None:
        run.mkdir(parents=True, exist_ok=True)
    with journal.step("up.materials", f"programs, images and the kernel '{spec.kernel}'"):
        try:
            materials = _materials(spec, store, needs, layout, program)
        except OSError as error:
            msg = "the files of the virtual machine could not be created"
            raise PreflightError(
                msg,
                cause=str(error),
                where=str(layout.path),
                next_step="free disk space, or set another directory with --state",
            ) from error
    paths = (*_CODE, store.cache, Path.cwd())
    folder = layout.path / FOLDER
    steady = os.environ.get(FAST_CLOCK) != "1"
    wanted_machine = machine.Wanted(spec.name, folder, _groups(layout), state, run, paths, spec.nodes, steady)
    with journal.step("up.machine", f"a virtual machine with kernel {materials.release}") as detail:
        try:
            found, pid = machine.start(materials, wanted_machine)
        finally:
            shutil.rmtree(materials.disk, ignore_errors=True)
        detail["accelerator"] = found.accelerator
    vm = states.MachineState(name="vm", address=IPv4Address(qemu.ADDRESS), pid=pid, started=states.start_time(pid))
    states.write(layout, known.model_copy(update={"machines": (vm,)}))
    return Inside(found, layout, program)


def joinable(groups: Iterable[Path]) -> list[Path]:
    """Groups of a lab that a process can join at once, and stay within what its user may have of the processor.

    In a v1 cpuset a group would have to be filled first; in v1's cpu one leaves the group that one was started in.
    """
    return [group for group in groups if not {"cpu", "cpuset"} & set(group.parts[-3].split(","))]


def _groups(layout: LabLayout) -> tuple[Path, ...]:
    """One of them is enough to find the machine again."""
    for group in joinable(cgroups.groups(layout.group)):
        try:
            group.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if (group / "cgroup.procs").exists():
            return (group,)
    return ()


def _materials(
    spec: LabSpec, store: Store, needs: Needs | None, layout: LabLayout, program: Program
) -> machine.MachineMaterials:
    from harness.providers.namespaces.bring_up import prepare  # noqa: PLC0415 - brings certificates and more

    with ThreadPoolExecutor() as pool:
        prepared = pool.submit(prepare, store, needs) if needs else None
        compiled = pool.submit(compile_modules, store, program)
        store.tools.need(*TOOLS)
        if machine.virtiofsd() is None:
            store.tools.install("virtiofsd")  # until Debian 12 it came with qemu; there is no package of that name
        machine.require_programs()
        chosen = kernel_package.deliver(store, spec.kernel)
        made = prepared.result() if prepared else None
        compiled.result()
    disk = layout.path / FOLDER / "disk"
    for name in ("state", "upper", "work"):
        (disk / name).mkdir(parents=True)
    inside = disk / "state" / CACHE
    inside.mkdir()
    _copy_modules(store, inside / BYTECODE)
    _point_at(store, inside)
    if made is not None and made.containerd is not None:
        # Below the state directory, nodes share its files by hard links; all else is seen where it is.
        root = made.containerd
        copy = inside / root.parent.name
        copy.mkdir()
        same = root.stat().st_dev == disk.stat().st_dev
        words = [*COPY, *(["--link"] if same else []), str(root), str(copy / root.name)]
        HostRunner().run(words, timeout=timeouts.DOWNLOAD)
    return machine.MachineMaterials(
        chosen.name, chosen.release, chosen.image, chosen.modules, disk, spec.kernel_arguments
    )


def _point_at(store: Store, inside: Path) -> None:
    """Have a machine find what the cache has where it is. Its doctor looks there, too, and no lab was prepared for it.

    What the cache lacks stays away: inside it would be a link to nowhere, and no folder could be made in its place.
    """
    for name in ("bin", "cni", "components", "given", "images", "libraries", "locks", "own", "pulled", "scratch"):
        if (store.cache / name).is_dir():
            (inside / name).symlink_to(store.cache / name)


def compile_modules(store: Store, program: Program) -> None:
    """Have Python keep what it compiles, in the cache (PYTHONPYCACHEPREFIX of python(1)); what is right there is left.

    Args:
        store: Has the cache.
        program: Names the modules.
    """
    env = {"PYTHONPYCACHEPREFIX": str(store.cache / BYTECODE), "PYTHONDONTWRITEBYTECODE": ""}
    with store.exclusive(BYTECODE):
        words = [sys.executable, "-c", f"import {', '.join(program.modules)}"]
        HostRunner().run(words, timeout=timeouts.ROLLOUT, env=env)


def _copy_modules(store: Store, place: Path) -> None:
    """A copy: what is missing is added inside, and the cache of this machine is not its business.

    Only of modules that it will find; those of another checkout, or of a Python that is gone, stay here.
    """
    with store.exclusive(BYTECODE):
        place.mkdir()
        for code in {one for one in _CODE if not any(other in one.parents for other in _CODE)}:
            folder = code.relative_to(code.anchor)
            if (store.cache / BYTECODE / folder).is_dir():
                shutil.copytree(store.cache / BYTECODE / folder, place / folder)


def keep_logs(state: Path, name: str, run: Path) -> Path:
    """Copy what the machine said into the run directory, before the lab is removed.

    Returns:
        The folder that has it.
    """
    target = run / "logs" / FOLDER
    files = qemu.Files(LabLayout(state, name).path / FOLDER)
    for log in (files.console, files.errors):
        if log.is_file():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, target / log.name)
    return target


def adopt(inside: Inside) -> Path:
    """After the lab inside is up: a kubeconfig that works outside, and the note that the bring-up ended well.

    Returns:
        The kubeconfig.
    """
    layout, way = inside.layout, machine.door(inside.state)
    known = states.NamespacesState.model_validate_json(way.read(layout.state_file))
    way.relay(known.api_port)
    text = way.read(layout.kubeconfig)
    text = text.replace(f"https://127.0.0.1:{known.api_port}", f"https://127.0.0.1:{inside.state.api_port}")
    write_private(layout.kubeconfig, text)
    ours = states.read(layout)
    if ours is not None:
        states.write(layout, ours.model_copy(update={"ready": True, "api_port": inside.state.api_port}))
    return layout.kubeconfig


@contextmanager
def passing(spec: LabSpec, store: Store, state: Path, journal: Journal, program: Program) -> Iterator[Inside]:
    """A machine for one command: it is gone afterwards, whatever happened."""
    from harness.steps.lifecycle.down import tear_down  # noqa: PLC0415

    try:
        yield start(spec, None, store, state, journal, program)
    finally:
        left = tear_down(state, spec.name, journal)
        if left:
            msg = "parts of the virtual machine are left over"
            raise CnilabError(msg, cause="\n".join(left))
