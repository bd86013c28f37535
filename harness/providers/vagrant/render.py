"""A Vagrantfile, an inventory and variables for the playbooks, from a spec. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from harness import yamlio
from harness.components.kubernetes import minor_of
from harness.model import world
from harness.model.spec import LabSpec

_FOLDER = Path(__file__).parent

BOOT_SECONDS = 300
EMULATED_BOOT_SECONDS = 1800
ROUTER = "router"
FAR_NETNS = "/run/netns/far"
ROUTER_MEMORY = 512
PLAYBOOK = "vagrant-cluster.yaml"


@dataclass(frozen=True)
class Machine:
    """A virtual machine.

    Args:
        name: Host name.
        address: On the network of the cluster.
        cpus: Virtual processors.
        memory: MiB.
    """

    name: str
    address: str
    cpus: int
    memory: int


def machines(spec: LabSpec) -> list[Machine]:
    """The nodes, the control plane's first."""
    size = spec.vagrant
    # A clock that counts instructions leaves the work of all processors to one of this machine's: more are a burden.
    cpus = 1 if emulated(spec) else size.cpus
    return [Machine(name, str(spec.node_address(name)), cpus, size.memory) for name in spec.node_names]


def emulated(spec: LabSpec) -> bool:
    """Whether machines have a processor that is software."""
    return spec.vagrant.hypervisor == "qemu"


def router(spec: LabSpec) -> Machine:
    """What plays the outside world."""
    return Machine(ROUTER, str(spec.router_address), 1, ROUTER_MEMORY)


def turns(spec: LabSpec, cores: int) -> list[list[str]]:
    """Machines that start side by side, one turn after the other; the router in the first.

    While an emulated machine boots it takes one processor of this one, all of it; and vagrant-libvirt gives it ten
    minutes until it has an address (`WaitTillUp`), whatever the Vagrantfile says.

    Args:
        spec: The lab.
        cores: Processors of this machine.
    """
    names = [machine.name for machine in (router(spec), *machines(spec))]
    size = max(1, cores) if emulated(spec) else len(names)
    return [names[first : first + size] for first in range(0, len(names), size)]


def vagrantfile(spec: LabSpec, unique: str = "") -> str:
    """The Vagrantfile.

    Args:
        spec: The lab.
        unique: Names of the hypervisor's begin with it; made of the lab's name by default.
    """
    size = spec.vagrant
    return (
        _environment()
        .get_template("Vagrantfile.j2")
        .render(
            name=spec.name,
            box=size.box,
            box_version=size.box_version,
            hypervisor=size.hypervisor,
            boot_seconds=EMULATED_BOOT_SECONDS if emulated(spec) else BOOT_SECONDS,
            router=router(spec),
            nodes=machines(spec),
            netmask=str(spec.underlay.cidr.netmask),
            network=unique or f"cnilab-{spec.name}",
            prefix=f"{unique or spec.name}-",
            host_address=str(spec.underlay.cidr[-2]),
            mtu=spec.underlay.mtu,
            api_port=size.api_port,
        )
    )


@cache
def _environment() -> jinja2.Environment:
    # Ruby code, not HTML: every value goes through `ruby`, which quotes it.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )
    environment.filters["ruby"] = ruby
    return environment


def ruby(text: str) -> str:
    """A text as a Ruby literal: as in JSON, and `#` begins no interpolation."""
    return json.dumps(text, ensure_ascii=False).replace("#", "\\#")


def inventory(spec: LabSpec, *, kube_proxy: bool = True) -> dict[str, Any]:
    """Ansible's inventory: who is what, and everything that the playbooks want to know.

    Machines are reached by their names in `ssh_config`, which `vagrant ssh-config` writes.
    """
    first, *others = spec.node_names
    return {
        "all": {
            "vars": variables(spec, kube_proxy=kube_proxy),
            "children": {
                "routers": {"hosts": {ROUTER: {"cluster_address": str(spec.router_address)}}},
                "nodes": {"children": {"control_plane": None, "workers": None}},
                "control_plane": {"hosts": {first: {"cluster_address": str(spec.node_address(first))}}},
                "workers": {"hosts": {name: {"cluster_address": str(spec.node_address(name))} for name in others}},
            },
        }
    }


def variables(spec: LabSpec, *, kube_proxy: bool = True) -> dict[str, Any]:
    """What all machines have in common."""
    outside = (world.PUBLIC, world.NEIGHBOUR, *world.LOOPBACKS)
    skipped = ("addon/coredns", *(() if kube_proxy else ("addon/kube-proxy",)))
    minor = minor_of(spec.kubernetes.version)
    return {
        "ansible_python_interpreter": "/usr/bin/python3",
        "cluster_name": spec.name,
        "cluster_nic": spec.cluster_nic,
        "cluster_network": str(spec.underlay.cidr),
        "cluster_mtu": spec.underlay.mtu,
        "cluster_emulated": emulated(spec),
        "cluster_hosts": {name: str(spec.node_address(name)) for name in spec.node_names},
        "kubernetes_minor": minor,
        "kubernetes_version": spec.kubernetes.version if spec.kubernetes.version != minor else "",
        "kubernetes_api_port": spec.vagrant.api_port,
        "kubernetes_pods": str(spec.pods.cidr),
        "kubernetes_node_mask": spec.pods.node_mask,
        "kubernetes_services": str(spec.services.cidr),
        "kubernetes_domain": spec.services.domain,
        "kubernetes_proxy_mode": spec.kubernetes.proxy_mode,
        "kubernetes_skip_phases": ",".join(skipped),
        "router_address": str(spec.router_address),
        "router_world": [str(one) for one in outside],
        "router_networks": [*(str(one.network) for one in outside), str(world.FAR_LINK)],
        "router_log": world.LOG,
        "router_far_address": f"{world.FAR_ROUTER}/{world.FAR_LINK.prefixlen}",
        "router_far_mtu": world.FAR_MTU,
        "far_address": f"{world.FAR_HOST}/{world.FAR_LINK.prefixlen}",
        "far_gateway": str(world.FAR_ROUTER),
        "far_ports": f"{world.RESPONDER_PORT},{world.WEB_PORT}",
    }


def ansible_cfg() -> str:
    """Ansible's settings beside the inventory."""
    return (
        "[defaults]\ninventory = inventory.yaml\nhost_key_checking = false\nretry_files_enabled = false\n"
        "[ssh_connection]\nssh_args = -F ssh_config -o ControlMaster=auto -o ControlPersist=60s\npipelining = true\n"
    )


def files(spec: LabSpec, *, kube_proxy: bool = True, unique: str = "") -> dict[str, str]:
    """Everything, by relative path.

    Args:
        spec: The lab.
        kube_proxy: Whether Services are kube-proxy's work.
        unique: As of `vagrantfile`.
    """
    return {
        "Vagrantfile": vagrantfile(spec, unique),
        "ansible.cfg": ansible_cfg(),
        "inventory.yaml": yamlio.dumps(inventory(spec, kube_proxy=kube_proxy)),
    }
