"""Bring-up: from a spec to a cluster whose pods talk and whose names resolve.

What can run at the same time does: components and certificates; all machines; the control plane's start and the wiring
of nodes; the network and the cluster's DNS.
"""

from __future__ import annotations

import contextlib
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness import timeouts, yamlio
from harness.cluster import coredns, kube, pki, plan
from harness.cluster.kubeconfig import kubeconfig
from harness.components.store import Store
from harness.errors import CnilabError
from harness.model.journal import Journal
from harness.model.machine import Machine
from harness.model.run import RunDir
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.probes.agent import run_plans
from harness.probes.plan import LookupProbe, Site
from harness.providers.namespaces import provider
from harness.providers.namespaces.layout import LabLayout
from harness.steps import networks, watchdog
from harness.steps.attach import Attached, attached

PROGRAMS = ("kubernetes", "etcd", "containerd", "runc", "nodeinit", "responder")
IMAGES = ("pause", "toolbox", "responder", "coredns")
_CAP_SYS_RESOURCE = 24


def images(variant: Variant) -> tuple[str, ...]:
    """Images that every node has before its first pod."""
    return (*IMAGES, *networks.network(variant).images)


def bring_up(
    spec: LabSpec,
    variant: Variant,
    *,
    run: RunDir,
    journal: Journal,
    store: Store,
    state: Path,
    raise_limits: bool = False,
) -> Attached:
    """Bring a lab up.

    Args:
        spec: What it shall be.
        variant: Its CNI variant.
        run: Remembered as the lab's run directory.
        journal: Gets a step for every part.
        store: Delivers programs and images.
        state: The state directory of all labs.
        raise_limits: Machine-wide limits that are too low for the lab may be raised while it exists.

    Raises:
        CnilabError: A part failed; what was made so far is still there, for `collect`, and for `down` to remove.
    """
    layout = LabLayout(state, spec.name)
    provider.claim(layout, spec, run.path, raise_limits=raise_limits)
    with journal.step("up.materials", "programs, images and certificates"), ThreadPoolExecutor() as pool:
        certificates = pool.submit(make_certificates, spec)
        materials = prepare(store, variant)
        issued = certificates.result()
    machines = plan.machines(spec, issued, machine_facts(), kube_proxy=variant.kube_proxy)
    lab = provider.create(layout, spec, machines, materials, journal)
    write_kubeconfigs(layout, lab.api_port, issued)
    found, lab = provider.find(layout)
    ready = attached(found, lab, state)
    watch = watchdog.Watchdog(layout)
    with journal.step("up.api", "API server"):
        watch.until("the API server to be ready", lambda: api_ready(ready.kube), timeouts.API_READY)
    _bring_up_network(ready, machines, journal, watchdog.Watchdog(layout, ready.kube))
    provider.mark_ready(layout)
    return ready


def make_certificates(spec: LabSpec) -> pki.ClusterPki:
    """All certificates of the cluster."""
    return pki.make_pki({name: spec.node_address(name) for name in spec.node_names}, plan.api_names(spec))


def prepare(store: Store, variant: Variant) -> provider.Materials:
    """Programs and images, from the cache or made now.

    Everything is asked for at once: the store then starts the longest build first, and an interrupt stops all.
    """
    wanted = images(variant)
    with ThreadPoolExecutor() as pool:
        tools = pool.submit(store.tools.need_all)
        store.ensure([*PROGRAMS, *store.cni_components(), *store.image_components(wanted)])
        tools.result()
    return provider.Materials(store.bin_dir(PROGRAMS), store.cni_dir(), store.containerd_root(wanted))


def machine_facts() -> plan.MachineFacts:
    """What this machine allows (capabilities(7), /proc/self/status)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return plan.MachineFacts(can_lower_oom_score=bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1))
    return plan.MachineFacts()


def write_kubeconfigs(layout: LabLayout, port: int, issued: pki.ClusterPki) -> None:
    """The administrator's kubeconfig, for people; and one that names files, for this program.

    The official client writes embedded keys to temporary files, which a kill would leave behind; with files of the
    lab's own it has no need to.
    """
    server = f"https://127.0.0.1:{port}"
    text = kubeconfig(server, issued.ca.cert, "kubernetes-admin", issued.admin, cluster=f"cnilab-{layout.name}")
    _write_private(layout.kubeconfig, text)
    folder = layout.client_kubeconfig.parent
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, content in (
        ("ca.crt", issued.ca.cert),
        ("admin.crt", issued.admin.cert),
        ("admin.key", issued.admin.key),
    ):
        _write_private(folder / name, content)
    _write_private(layout.client_kubeconfig, _client_kubeconfig(server))


def _client_kubeconfig(server: str) -> str:
    return yamlio.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": "ca.crt"}}],
            "users": [{"name": "admin", "user": {"client-certificate": "admin.crt", "client-key": "admin.key"}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
            "current-context": "lab",
        }
    )


def _write_private(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)


def api_ready(api: kube.Kube) -> bool:
    """The API server says that it is ready; any failure to answer is a no."""
    with contextlib.suppress(kube.ApiError):
        return bool(api.raw("GET", "/readyz", timeout=5.0) == "ok")
    return False


def _bring_up_network(ready: Attached, machines: list[Machine], journal: Journal, watch: watchdog.Watchdog) -> None:
    names = {machine.name for machine in machines}
    early = networks.network(ready.variant).configure is None
    with ThreadPoolExecutor() as pool:
        # CoreDNS needs no node to be applied; its pod is scheduled when the first node is ready.
        dns = pool.submit(ready.kube.apply, coredns.manifests(ready.spec))
        # Agents that wait for what they need by themselves start as soon as there is a node to start on.
        network = pool.submit(networks.apply_network, ready, ()) if early else None
        with journal.step("up.nodes", f"{len(names)} nodes registered, each with a podCIDR"):
            nodes = watch.until(
                "every node to be registered with a podCIDR",
                lambda: _registered(ready, names),
                timeouts.NODE_REGISTERED,
            )
        dns.result()
    with journal.step("up.cni", ready.variant.title):
        if network is None:
            networks.apply_network(ready, nodes)
        else:
            network.result()
    with journal.step("up.ready", "nodes Ready"):
        watch.until("every node to be Ready", lambda: _nodes_ready(ready, names), timeouts.NODE_READY)
    with journal.step("up.rollout", "workloads rolled out"):
        for workload in (*ready.variant.workloads, "kube-system/Deployment/coredns"):
            done = functools.partial(_rolled_out, ready, workload)
            watch.until(f"{workload} to be rolled out", done, timeouts.ROLLOUT)
    with journal.step("up.dns", "cluster DNS answers"):
        watch.until("the cluster's DNS to answer a node", lambda: _dns_answers(ready), timeouts.DNS_ANSWERS)


def _registered(ready: Attached, names: set[str]) -> list[dict[str, Any]] | None:
    nodes = [node for node in ready.kube.list("v1", "Node") if node["spec"].get("podCIDR")]
    return nodes if {node["metadata"]["name"] for node in nodes} >= names else None


def _nodes_ready(ready: Attached, names: set[str]) -> bool:
    up = {
        node["metadata"]["name"]
        for node in ready.kube.list("v1", "Node")
        for condition in node["status"].get("conditions", ())
        if condition["type"] == "Ready" and condition["status"] == "True"
    }
    return up >= names


def _rolled_out(ready: Attached, workload: str) -> bool:
    namespace, kind, name = workload.split("/")
    item = ready.kube.get("apps/v1", kind, name, namespace)
    if item is None or item["status"].get("observedGeneration", 0) < item["metadata"]["generation"]:
        return False
    status = item["status"]
    if kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        return bool(0 < wanted == status.get("numberReady", 0) == status.get("updatedNumberScheduled", 0))
    return bool(status.get("availableReplicas", 0) == item["spec"]["replicas"])


def _dns_answers(ready: Attached) -> bool:
    """A node asks the DNS Service's virtual address for a name that every cluster has."""
    node = ready.lab.nodes[0]
    site = Site(name=node.name, node=node.name, ip=str(node.address), runner=node.runner)
    probe = LookupProbe(
        f"kubernetes.default.svc.{ready.spec.services.domain}.", server=str(ready.spec.services.dns_address)
    )
    answers = run_plans({site: [probe]}, batch="up", deadline=0.5, retries=0)
    return any(getattr(answer, "answers", ()) for answer in answers)


def explain(error: CnilabError, state: Path, name: str) -> CnilabError:
    """Add to a failed bring-up what the machines' services said last."""
    return watchdog.explain(error, LabLayout(state, name))
