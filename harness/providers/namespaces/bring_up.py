"""A lab of Linux namespaces: certificates, materials, machines, and a kubeconfig; and the same as files to look at.

What can run at the same time does: components and certificates; all machines.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.cluster import pki, plan
from harness.cluster.client_kubeconfig import write_client
from harness.cluster.kubeconfig import kubeconfig
from harness.cluster.node_config import MachineFacts
from harness.cni import networks
from harness.components.store import Store
from harness.enter import PROGRAMS, cgroup_v1
from harness.files import write_private
from harness.model import sysctls
from harness.model.labstate import LabDir
from harness.model.machine import Machine
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.model.wellknown import EMULATED
from harness.providers import registry
from harness.providers.namespaces import create, nodespec, provider
from harness.providers.namespaces.layout import LabLayout
from harness.providers.needs import PLUGINS_OF_NETWORKS, WITHOUT_KUBERNETES
from harness.providers.protocol import Found, Needs, Order
from harness.runner import HostRunner, Runner

BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")

_CAP_SYS_RESOURCE = 24
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)
_BASE64 = re.compile(r"(-data: ?)[A-Za-z0-9+/=]{60,}")


def bring_up(order: Order) -> Found:
    """Make the machines of a lab; see `protocol.Driver`."""
    spec, journal = order.spec, order.journal
    layout = LabLayout(order.place.state, order.place.name)
    create.claim(layout, spec, order.run.path, raise_limits=order.raise_limits)
    load_modules()
    if not order.variant.kubernetes:
        with journal.step("up.materials", "programs"):
            materials = prepare(order.store, order.needs)
        create.create(layout, spec, nodespec.without_kubernetes(spec), materials, journal)
        return Found(*provider.find(layout))
    with journal.step("up.materials", "programs, images and certificates"), ThreadPoolExecutor() as pool:
        certificates = pool.submit(make_certificates, spec)
        materials = prepare(order.store, order.needs)
        networks.deliver(order.store, order.place, spec, order.variant)
        issued = certificates.result()
    facts = machine_facts(containerd=order.store.ensure(["containerd"])["containerd"].version)
    if odd := inherited():
        journal.note("up.materials", f"pods get their own settings, because this machine's are {', '.join(odd)}")
        facts = replace(facts, container_spec=container_spec(materials.programs))
    machines = plan.machines(spec, issued, facts, kube_proxy=order.variant.kube_proxy)
    lab = create.create(layout, spec, machines, materials, journal)
    write_kubeconfigs(layout, lab.api_port, issued)
    return Found(*provider.find(layout))


def inherited(runner: Runner | None = None) -> list[str]:
    """Settings that a new network namespace gets from this machine, and that a lab's networks cannot do with.

    Nodes get theirs from `nodeinit`. Pods' namespaces are made by the container runtime, and get the machine's as well.
    """
    words = ["unshare", "--net", "--", "grep", "-H", "", *sysctls.files()]
    # grep fails when the kernel lacks one of them, and says the others all the same.
    done = (runner or HostRunner()).run(words, check=False)
    return [f"{key.replace('/', '.')}={value}" for key, value in sorted(sysctls.odd(done.stdout).items())]


def container_spec(programs: Path, runner: Runner | None = None) -> str:
    """What containers of pods start from: containerd's own, with a hook that sets their network's settings.

    Args:
        programs: Directory of the lab's programs.
        runner: Runs one of them.
    """
    made: dict[str, Any] = json.loads((runner or HostRunner()).run([programs / "ctr", "oci", "spec"]).stdout)
    made["process"].pop("rlimits", None)
    hook = {"path": f"{PROGRAMS}/nodeinit", "args": ["nodeinit", "settle", *sysctls.words()]}
    made["hooks"] = {"createContainer": [hook]}
    return json.dumps(made, indent=1) + "\n"


def load_modules(runner: Runner | None = None) -> None:
    """Load what nothing in a lab would load by itself: modprobe(8) is not asked for it, as it is for a kind of link.

    kube-proxy and flannel want br_netfilter; on a kernel with modules flannel ends without it. Once it is loaded, the
    kernel shows what crosses any bridge to iptables, in each network namespace unless it is told otherwise. The
    machine's own is told so: there it goes on as before. Where it cannot be loaded, `doctor` has said so.
    """
    if BRIDGE_FILTER.exists() or not shutil.which("modprobe"):
        return
    (runner or HostRunner()).run(["modprobe", "br_netfilter"], check=False)
    for program in ("iptables", "ip6tables", "arptables"):
        setting = BRIDGE_FILTER.with_name(f"bridge-nf-call-{program}")
        if setting.exists():
            setting.write_text("0\n", encoding="ascii")


def rendered(spec: LabSpec, variant: Variant) -> dict[str, str]:
    """Files, services and sysctls of all nodes, by relative path; keys as placeholders."""
    if variant.kubernetes:
        nodes = plan.machines(spec, make_certificates(spec), machine_facts(), kube_proxy=variant.kube_proxy)
    else:
        nodes = nodespec.without_kubernetes(spec)
    files: dict[str, str] = {}
    for machine in nodes:
        files.update(_machine(machine))
    return files


def _machine(machine: Machine) -> dict[str, str]:
    services = "\n".join(
        f"# {one.name}\n{_command(one.argv)}\n" for one in sorted(machine.services, key=lambda s: s.name)
    )
    files = {f"machines/{machine.name}{path}": _public(file.content) for path, file in machine.files.items()}
    if services:
        files[f"machines/{machine.name}/services.sh"] = services
    if machine.sysctls:
        lines = (f"{key.lstrip('?')} = {value}\n" for key, value in sorted(machine.sysctls.items()))
        files[f"machines/{machine.name}/sysctl.conf"] = "".join(lines)
    return files


def _command(argv: tuple[str, ...]) -> str:
    return " \\\n  ".join(argv)


def _public(text: str) -> str:
    """Certificates and keys as placeholders."""
    text = _PEM.sub(r"# (\1: made by up)", text)
    return _BASE64.sub(r"\1(made by up)", text)


def make_certificates(spec: LabSpec) -> pki.ClusterPki:
    """All certificates of the cluster."""
    return pki.make_pki({name: spec.all_addresses(name) for name in spec.node_names}, plan.api_names(spec))


def prepare(store: Store, needs: Needs) -> create.NodeMaterials:
    """Programs and images, from the cache or made now.

    Everything is asked for at once: the store then starts the longest build first, and an interrupt stops all.
    """
    with ThreadPoolExecutor() as pool:
        tools = pool.submit(store.tools.need_all)
        store.ensure(needs.components)
        tools.result()
    if not needs.images:
        return create.NodeMaterials(store.bin_dir(WITHOUT_KUBERNETES), store.cni_dir(PLUGINS_OF_NETWORKS), None)
    return create.NodeMaterials(
        store.bin_dir(registry.driver("namespaces").components), store.cni_dir(), store.containerd_root(needs.images)
    )


def machine_facts(containerd: str = MachineFacts.containerd) -> MachineFacts:
    """What this machine allows (capabilities(7), /proc/self/status).

    Args:
        containerd: Version of the nodes' containerd, where it is known.
    """
    facts = MachineFacts(cgroup_v1=cgroup_v1(), containerd=containerd, emulated=EMULATED in os.environ)
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            able = bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
            return replace(facts, can_lower_oom_score=able)
    return facts


def write_kubeconfigs(place: LabDir, port: int, issued: pki.ClusterPki) -> None:
    """The administrator's kubeconfig, for people; and one that names files, for this program."""
    server = f"https://127.0.0.1:{port}"
    text = kubeconfig(server, issued.ca.cert, "kubernetes-admin", issued.admin, cluster=f"cnilab-{place.name}")
    write_private(place.kubeconfig, text)
    write_client(place, server, issued.ca.cert, issued.admin.cert, issued.admin.key)
