"""What nodeinit is told about each machine. Pure.

The keys are those of `components/nodeinit/spec.go`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from harness.enter import ENVIRONMENT, PROGRAMS
from harness.model import sysctls, world
from harness.model.machine import MACHINE_WIDE, Machine, Service
from harness.model.spec import LabSpec
from harness.model.wellknown import API_PORT, CILIUM_CGROUPS, CRICTL_CONFIG
from harness.providers.namespaces import links
from harness.providers.namespaces.layout import MachineLayout

# Directories of a node that hold much, that overlayfs cannot hold (containerd's snapshots are overlays themselves), or
# where the host's own content must not show through.
_CLUSTER_DIRS = ("var/lib/containerd", "var/lib/kubelet", "var/lib/etcd", "etc/containerd", "etc/kubernetes")
_PLUGIN_DIRS = ("var/lib/cni", "var/lib/docker", "etc/cni", "etc/docker")


def data_dirs(machine: Machine) -> tuple[str, ...]:
    """Directories, relative to the root, that are bind-mounted from the state directory."""
    cluster = _CLUSTER_DIRS if machine.programs else ()
    return (*cluster, *(_PLUGIN_DIRS if machine.plugins else ()), "var/log")


def nodeinit_spec(
    spec: LabSpec, machine: Machine, layout: MachineLayout, cgroups: list[Path], programs: Path, cni: Path
) -> dict[str, Any]:
    """Render the specification of one machine.

    Args:
        spec: The lab.
        machine: What it shall be.
        layout: Its directories on the host.
        cgroups: Its groups, one in each hierarchy.
        programs: Directory of the lab's programs.
        cni: Directory of the CNI plugins.
    """
    mounts: list[dict[str, Any]] = [
        {"source": str(layout.data / directory), "target": f"/{directory}"} for directory in data_dirs(machine)
    ]
    mounts.append({"source": str(programs), "target": PROGRAMS, "read_only": True})
    if machine.plugins:
        own = {"upper": str(layout.cni_upper), "work": str(layout.cni_work)}
        mounts.append({"target": "/opt/cni/bin", "lower": str(cni), **own})
    if machine.programs:
        # The group that socket programs are attached to. It is the node's own: the root of its cgroup namespace.
        mounts.append({"type": "cgroup2", "target": CILIUM_CGROUPS})
    control_plane = machine.programs and machine.name == spec.node_names[0]
    return {
        "hostname": machine.name,
        "cgroups": [str(group) for group in cgroups],
        "pid_file": str(layout.pid),
        "log": str(layout.log / "nodeinit.log"),
        "root": str(layout.root),
        "listen": "127.0.0.1:0" if control_plane else "",
        "forward": f"127.0.0.1:{API_PORT}" if control_plane else "",
        "mounts": mounts,
        "files": {**_identity(spec, machine), **({"/etc/crictl.yaml": CRICTL_CONFIG} if machine.programs else {})},
        "private": list(MACHINE_WIDE),
        "sysctls": [
            {"key": key.removeprefix("?"), "value": value, "optional": key.startswith("?")}
            for key, value in machine.sysctls.items()
        ],
        "services": [_service(service) for service in machine.services],
    }


def _identity(spec: LabSpec, machine: Machine) -> dict[str, str]:
    """Files that make a machine itself: names, resolver, machine-id (machine-id(5): 32 hexadecimal digits)."""
    hosts = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    hosts += [f"{address} {name}" for name in spec.node_names for address in spec.all_addresses(name)]
    hosts += [f"{spec.router(family)} router" for family in spec.families]
    seed = f"{spec.name}/{machine.name}".encode()
    return {
        "/etc/hostname": machine.name + "\n",
        "/etc/hosts": "\n".join(hosts) + "\n",
        "/etc/resolv.conf": "".join(f"nameserver {spec.router(family)}\n" for family in spec.families),
        "/etc/machine-id": _digest(seed) + "\n",
    }


def _digest(seed: bytes) -> str:
    return hashlib.blake2b(seed, digest_size=16).hexdigest()


def _service(service: Service) -> dict[str, Any]:
    return {
        "name": service.name,
        "argv": list(service.argv),
        "env": {**ENVIRONMENT, **service.env},
        "log": f"/var/log/cnilab/{service.name}.log",
        "wait": list(service.wait),
    }


_UNFILTERED = {f"?net/bridge/bridge-nf-call-{program}": "0" for program in ("iptables", "ip6tables")}


def surroundings() -> list[Machine]:
    """The machines around the nodes: the fabric, the router that plays the outside world, and the far host."""
    forwarding = {**sysctls.NETWORK, **sysctls.FORWARDING}
    serve = ("responder", "serve", "--name=far", f"--ports={world.RESPONDER_PORT},{world.WEB_PORT}")
    return [
        # A bridge hands frames to iptables only when told to; the wire must not.
        Machine(links.FABRIC, programs=False, plugins=False, sysctls={**sysctls.NETWORK, **_UNFILTERED}),
        Machine(
            links.ROUTER,
            programs=False,
            plugins=False,
            sysctls=forwarding,
            services=(Service("world", ("responder", "world", f"--log={world.LOG}")),),
        ),
        Machine(links.FAR, programs=False, plugins=False, sysctls=sysctls.NETWORK, services=(Service("far", serve),)),
    ]


def without_kubernetes(spec: LabSpec) -> list[Machine]:
    """Machines that are no nodes of a cluster: they forward nothing, and filter nothing on bridges, unless told to."""
    settings = {**sysctls.NETWORK, **dict.fromkeys(sysctls.FORWARDING_SWITCHES, "0"), **_UNFILTERED}
    return [Machine(name, programs=False, sysctls=settings) for name in spec.node_names]
