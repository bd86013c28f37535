"""Vagrant, and the hypervisors below it: the programs that make machines and take them away."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from harness import timeouts
from harness.errors import BringUpError, CnilabError
from harness.providers.vagrant import answers
from harness.runner import WITH_US, CommandError, Completed, HostRunner, stop

_VIRSH = ("virsh", "-q", "-c", "qemu:///system")
_LAB = "CNILAB_VAGRANT_LAB"
"""A variable of all programs that work for a lab, with its directory: after a crash they are found by it."""

PROGRAMS = {"virtualbox": "VBoxManage", "libvirt": "virsh", "qemu": "virsh"}
"""Hypervisor to the program that says what it has."""

Tell = Callable[[answers.Progress], None]


def provider(hypervisor: str) -> str:
    """Vagrant's own name for what a spec calls a hypervisor."""
    return "virtualbox" if hypervisor == "virtualbox" else "libvirt"


class Vagrant:
    """Vagrant, at work in a lab's folder.

    Args:
        folder: Has the Vagrantfile.
        hypervisor: As in the spec.
        lab: Directory of the lab.
    """

    def __init__(self, folder: Path, hypervisor: str, lab: Path) -> None:
        self._folder = folder
        self._hypervisor = hypervisor
        self._lab = lab

    @property
    def environment(self) -> dict[str, str]:
        """Variables that it runs with; its children inherit them."""
        return {
            "VAGRANT_CWD": str(self._folder),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_DEFAULT_PROVIDER": provider(self._hypervisor),
            _LAB: str(self._lab),
        }

    def up(self, names: Sequence[str], log: Path, tell: Tell) -> None:
        """Make machines and start them.

        Args:
            names: Which.
            log: Gets all that Vagrant says, after what it has.
            tell: Hears what happens to each machine.

        Raises:
            BringUpError: Vagrant gave up, or took too long.
        """
        words = ("vagrant", "up", "--machine-readable", "--provider", provider(self._hypervisor), *names)
        # It ends with us, where it can: a crash leaves less to end for `down`.
        killed = WITH_US if shutil.which(WITH_US[0]) else ()
        said: list[answers.Line] = []
        with log.open("ab") as sink, log.open("rb") as heard:
            heard.seek(0, os.SEEK_END)
            process = HostRunner(cwd=self._folder).start(
                (*killed, *words), stdout=sink, stderr=sink, env=self.environment
            )
            try:
                for _ in timeouts.ticks(timeouts.MACHINES_UP, 0.2, 1.0):
                    ended = process.poll() is not None
                    _listen(heard, said, tell)
                    if ended:
                        break
                else:
                    msg = f"vagrant did not make the machines within {timeouts.stretched(timeouts.MACHINES_UP):.0f} s"
                    last = next((one.text for one in reversed(said) if one.text), "")
                    step = "if this machine is slow, extend all deadlines with CNILAB_TIMEOUT_SCALE=4"
                    raise BringUpError(msg, cause=last, next_step=step, log=str(log))
            finally:
                stop(process, signal.SIGINT)
        if process.returncode:
            raise up_failed(said, log)

    def ssh_config(self) -> str:
        """The way to all machines, as a configuration of ssh."""
        return self._run("ssh-config").stdout

    def states(self) -> dict[str, str]:
        """Machine to its state; see `answers.states`."""
        return answers.states(answers.lines(self._run("status", "--machine-readable").stdout))

    def destroy(self) -> str:
        """Take all machines away that Vagrant knows of.

        Returns:
            Why it could not; empty is good.
        """
        try:
            done = self._run("destroy", "--force", "--machine-readable", timeout=timeouts.MACHINES_DOWN, check=False)
        except CommandError as error:
            return error.cause or error.what
        return "" if done.ok else answers.failure(answers.lines(done.stdout)) or done.tail()

    def _run(self, *words: str, timeout: float = 4 * timeouts.COMMAND, check: bool = True) -> Completed:
        runner = HostRunner(cwd=self._folder)
        return runner.run(("vagrant", *words), env=self.environment, timeout=timeout, check=check)


def up_failed(said: Sequence[answers.Line], log: Path) -> BringUpError:
    """What a failure of `vagrant up` means, and what to do.

    Args:
        said: By Vagrant.
        log: Has all of it.
    """
    cause = answers.failure(said)
    text = cause.lower()
    step = "read Vagrant's output in the log; 'cnilab doctor --provider vagrant' checks what it needs"
    if "box" in text and ("could not be found" in text or "couldn't be found" in text or "not be accessed" in text):
        step = (
            'vagrant box add --name cnilab/node "$(cnilab components build-box -q)"; then spec.vagrant.box: cnilab/node'
        )
    elif "port" in text and ("collision" in text or "already in use" in text):
        step = "another program uses this port: set spec.vagrant.apiPort"
    elif "libvirt" in text and ("connect" in text or "socket" in text):
        step = "start libvirtd (systemctl start libvirtd), and check that you may use it (group libvirt)"
    elif "wait_for timeout" in text or "timed out while waiting for the machine" in text:
        step = "the machine did not boot within Vagrant's own deadline: use fewer nodes, or run less other work here"
    elif "kvm" in text:
        step = "no KVM here: spec.vagrant.hypervisor: qemu emulates a processor, but it is slow"
    lines = "\n".join(cause.splitlines()[:12])
    return BringUpError("vagrant could not make the machines", cause=lines, next_step=step, log=str(log))


def _listen(heard: IO[bytes], said: list[answers.Line], tell: Tell) -> None:
    """Take in what was said since the last time; a line that is still being written is left for the next."""
    while raw := heard.readline():
        if not raw.endswith(b"\n"):
            heard.seek(-len(raw), os.SEEK_CUR)
            return
        one = answers.line(raw.decode(errors="replace"))
        if one is None:
            continue
        said.append(one)
        if (step := answers.progress(one)) is not None:
            tell(step)


def living(lab: Path) -> list[int]:
    """Processes of this machine that work for a lab (proc(5), /proc/pid/environ)."""
    wanted = f"{_LAB}={lab}".encode()
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if wanted in _variables(process)]


def _variables(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return []


def end_all(lab: Path) -> list[str]:
    """End what still works for a lab whose harness was killed: nothing must come to be while machines are removed.

    Returns:
        What does not end, in words.
    """
    left: list[int] = []
    for _ in timeouts.ticks(timeouts.PROCESS_EXIT, 0.05, scale=timeouts.stretched):
        left = [pid for pid in living(lab) if pid != os.getpid()]
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            break
    return [f"process {pid}: it works for the cluster and does not end" for pid in left]


def sweep(hypervisor: str, unique: str) -> list[str]:
    """Remove what Vagrant does not know of: it was killed between making a thing and writing that down.

    Args:
        hypervisor: As in the spec.
        unique: What the names of the lab's machines and disks begin with; its network has no other name.

    Returns:
        What is left, in words; empty is good.
    """
    return _sweep_virtualbox(unique) if hypervisor == "virtualbox" else _sweep_libvirt(unique)


def _sweep_libvirt(unique: str) -> list[str]:
    if shutil.which("virsh") is None:
        return []
    left: list[str] = []
    for name in _of_lab(answers.listed(_ask("list", "--all", "--name")), unique):
        _ask("destroy", name)
        left += _attempt(f"machine {name}", *_VIRSH, "undefine", name, "--nvram")
    for name in _of_lab(answers.volumes(_ask("vol-list", "default")), unique):
        left += _attempt(f"disk {name}", *_VIRSH, "vol-delete", name, "--pool", "default")
    if unique in answers.listed(_ask("net-list", "--all", "--name")):
        _ask("net-destroy", unique)
        left += _attempt(f"network {unique}", *_VIRSH, "net-undefine", unique)
    return left


def _sweep_virtualbox(unique: str) -> list[str]:
    if shutil.which("VBoxManage") is None:
        return []
    there = answers.virtualbox_machines(_output("VBoxManage", "list", "vms"))
    left: list[str] = []
    for name in _of_lab(list(there), unique):
        _output("VBoxManage", "controlvm", there[name], "poweroff")
        left += _attempt(f"machine {name}", "VBoxManage", "unregistervm", there[name], "--delete")
    return left


def _of_lab(names: Iterable[str], unique: str) -> list[str]:
    return [name for name in names if name.startswith(f"{unique}-")]


def _ask(*words: str) -> str:
    return _output(*_VIRSH, *words)


def _output(*words: str) -> str:
    """What a program says; nothing when it fails: what is not there need not be removed."""
    done = HostRunner().run(words, check=False, env={"LC_ALL": "C"})
    return done.stdout if done.ok else ""


def _attempt(what: str, *words: str) -> list[str]:
    try:
        HostRunner().run(words, env={"LC_ALL": "C"})
    except CnilabError as error:
        return [f"{what}: {error.cause or error.what}"]
    return []
