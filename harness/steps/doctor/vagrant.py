"""Checks of `doctor` that concern clusters on Vagrant: Vagrant itself, its hypervisor, a box, and room for machines."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from harness.providers.vagrant import answers, render
from harness.providers.vagrant.engine import provider
from harness.steps.doctor.model import Answer, Plan, Question, Severity

Probe = Callable[[Plan], Answer]

MIB = 2**20
GIB = 2**30

_DISK_OF_A_MACHINE = 3 * GIB
"""What a machine writes beside its box: images, logs, etcd."""

_NAMESPACES = "omit --provider: provider namespaces needs no hypervisor"
_PACKAGES = {
    "virtualbox": "install VirtualBox (https://www.virtualbox.org), or set spec.vagrant.hypervisor: libvirt",
    "libvirt": "apt-get install --no-install-recommends vagrant-libvirt libvirt-daemon-system libvirt-clients qemu-kvm",
    "qemu": "apt-get install --no-install-recommends vagrant-libvirt libvirt-daemon-system libvirt-clients "
    "qemu-system-x86 qemu-utils dnsmasq-base",
}


def _vagrant(plan: Plan) -> Answer:
    if plan.host.which("vagrant") is None:
        return Answer(ok=False, detail="not found")
    done = plan.host.run(["vagrant", "--version"])
    return Answer(done.ok, done.stdout.strip() if done.ok else done.tail(1))


def _hypervisor(plan: Plan) -> Answer:
    """The hypervisor answers, and Vagrant can talk to it."""
    wanted = plan.spec.vagrant.hypervisor
    program, question = ("VBoxManage", "--version"), ("virsh", "-c", "qemu:///system", "version")
    asked = program if wanted == "virtualbox" else question
    if plan.host.which(asked[0]) is None:
        return Answer(ok=False, detail=f"{asked[0]} does not exist", fix=_PACKAGES[wanted])
    done = plan.host.run(asked)
    if wanted == "virtualbox":
        return Answer(done.ok, f"VirtualBox {done.stdout.strip()}" if done.ok else done.tail(1), _PACKAGES[wanted])
    if not done.ok:
        start = "systemctl start libvirtd; a user who is not root must be in the group libvirt"
        return Answer(ok=False, detail=done.tail(1), fix=start)
    return _libvirt(plan, wanted)


def _libvirt(plan: Plan, wanted: str) -> Answer:
    """What Vagrant needs beside a libvirt that answers."""
    plugins = plan.host.run(["vagrant", "plugin", "list", "--machine-readable"])
    if "vagrant-libvirt" not in answers.plugins(answers.lines(plugins.stdout)):
        return Answer(ok=False, detail="Vagrant lacks its plugin vagrant-libvirt", fix=_PACKAGES[wanted])
    if wanted == "libvirt" and not plan.host.exists("/dev/kvm"):
        other = "enable virtualization in the machine's firmware, or set spec.vagrant.hypervisor: qemu, which is slow"
        return Answer(ok=False, detail="there is no /dev/kvm", fix=other)
    return Answer(ok=True, detail=f"{wanted}, by libvirt and vagrant-libvirt")


def _box(plan: Plan) -> Answer:
    """The box is there, or Vagrant downloads it."""
    wanted = (plan.spec.vagrant.box, provider(plan.spec.vagrant.hypervisor))
    if plan.host.which("vagrant") is None:
        return Answer(ok=False, detail="unknown without vagrant")
    done = plan.host.run(["vagrant", "box", "list", "--machine-readable"])
    there = wanted in answers.boxes(answers.lines(done.stdout))
    return Answer(there, f"{wanted[0]} for {wanted[1]}" + ("" if there else " is not there"))


def _ssh(plan: Plan) -> Answer:
    path = plan.host.which("ssh")
    return Answer(path is not None, path or "not found")


def _ansible(plan: Plan) -> Answer:
    path = Path(sys.executable).with_name("ansible-playbook")
    return Answer(plan.host.exists(str(path)), str(path))


def _memory(plan: Plan) -> Answer:
    """All machines' memory at once: a hypervisor takes what a machine touches."""
    spec = plan.spec
    free, wanted = plan.host.memory_available(), (spec.vagrant.memory * spec.nodes + render.ROUTER_MEMORY) * MIB
    detail = f"{free / GIB:.1f} GiB available, {wanted / GIB:.1f} GiB for {spec.nodes} nodes and the router"
    return Answer(free >= wanted, detail, severity="blocks" if free < wanted // 2 else None)


def _disk(plan: Plan) -> Answer:
    """Where the hypervisor keeps disks."""
    place = Path.home() / "VirtualBox VMs"
    if plan.spec.vagrant.hypervisor != "virtualbox":
        place = Path("/var/lib/libvirt/images")
    free, wanted = plan.host.free_bytes(place), _DISK_OF_A_MACHINE * (plan.spec.nodes + 1)
    return Answer(free >= wanted, f"{free / GIB:.1f} GiB free at {place}, about {wanted / GIB:.1f} GiB needed")


def _port(plan: Plan) -> Answer:
    port = plan.spec.vagrant.api_port
    free = plan.host.port_is_free(port)
    return Answer(free, f"127.0.0.1:{port}" + ("" if free else " is taken"))


def _check(name: str, title: str, severity: Severity, consequence: str, fix: str, probe: Probe) -> Question:
    return Question(name, title, severity, consequence, fix, probe, provider="vagrant")


CHECKS: tuple[Question, ...] = (
    _check("vagrant", "Vagrant", "blocks", "no machines", f"apt-get install vagrant, or {_NAMESPACES}", _vagrant),
    _check("vagrant-hypervisor", "hypervisor", "blocks", "no machines", _NAMESPACES, _hypervisor),
    _check(
        "vagrant-box",
        "box",
        "info",
        "vagrant downloads it from its catalogue, or fails if that cannot be reached",
        'vagrant box add --name cnilab/node "$(cnilab components build-box -q)"; then spec.vagrant.box: cnilab/node',
        _box,
    ),
    _check("vagrant-memory", "memory, machines", "limits", "machines swap or do not start", "use fewer nodes", _memory),
    _check(
        "vagrant-disk",
        "disk, machines",
        "limits",
        "machines cannot write",
        "free disk space, or use fewer nodes",
        _disk,
    ),
    _check(
        "vagrant-port",
        "API server's port",
        "blocks",
        "kubectl cannot reach the API server",
        "set another spec.vagrant.apiPort",
        _port,
    ),
    _check("ssh", "ssh", "blocks", "no machine can be reached", "apt-get install openssh-client", _ssh),
    _check("ansible", "Ansible", "blocks", "no cluster", "install cnilab again: it includes Ansible", _ansible),
)
"""None of them concerns a cluster of another provider."""
