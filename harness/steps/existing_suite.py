"""The suite in a cluster that is not ours: its pods and probes, and what they show of the cluster."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, Final

from conformance import manifests
from conformance.inventory import Inventory, NodeFact, Site
from conformance.manifests import PodPlan
from harness import timeouts
from harness.cluster.execute import PodRunner
from harness.cluster.kube import ApiError, Kube, Object
from harness.cluster.stream import Place
from harness.cni import catalogue, recognise
from harness.cni.recognise import Recognised, Seen
from harness.errors import BringUpError, CnilabError, PreflightError
from harness.model.journal import Journal
from harness.model.run import RunDir
from harness.model.spec import LabSpec
from harness.probes import inventory as sandboxes
from harness.probes import plan as probes
from harness.probes import podstate
from harness.providers.existing import probe, survey, tenancy
from harness.providers.existing.probe import ExistingLab, ExistingNode
from harness.runner import CommandError, HostRunner, Runner
from harness.steps.attach import Attached
from harness.steps.existing_preflight import Survey
from harness.steps.existing_stay import Stay
from harness.steps.suite import Suite, running, service_fact, serving

SCOUT: Final = "scout"
PROMISED: Final = ("np", "masq", "nfmasq", "ncidr", "lease", "ovl", "fdb", "hport", "kpf", "cni4")
"""Gates that only a network's own data can open."""

GC_THRESH: Final = "/proc/sys/net/ipv4/neigh/default/gc_thresh2"

_NEVER = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError"}
"""Reasons of a waiting container that waiting does not mend."""

_ZONE_OF = re.compile(r"^\S+\.svc\.(\S+)$")


@dataclass(frozen=True)
class _Nodes:
    """The nodes through their probes.

    Args:
        nodes: All of them, or none.
        links: `ip -j addr` of each.
        found: What runs there.
    """

    nodes: tuple[ExistingNode, ...] = ()
    links: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
    found: sandboxes.Inventory | None = None

    def nic(self, name: str, address: str) -> tuple[str, IPv4Network | None, int]:
        """Name, network and MTU of the link that has a node's address."""
        for link in (self.links or {}).get(name, ()):
            for one in link.get("addr_info", ()):
                if one.get("local") == address:
                    return str(link["ifname"]), IPv4Interface(f"{address}/{one['prefixlen']}").network, int(link["mtu"])
        return "", None, 0


def deploy(here: Stay, run: RunDir, journal: Journal) -> Suite:
    """Put the suite into the cluster, wait until it serves, and find out what it is in.

    Args:
        here: The run's stay there.
        run: Its run directory.
        journal: Gets steps.

    Raises:
        CnilabError: The pods do not become ready, or were refused.
    """
    return _Deployment(here, run, journal).suite()


class _Deployment:
    """The suite's way into the cluster, in the order in which one thing needs the other."""

    def __init__(self, here: Stay, run: RunDir, journal: Journal) -> None:
        self.here = here
        self.run = run
        self.journal = journal
        self.enter = PodRunner(here.found.access, Place("", ""))

    @property
    def kube(self) -> Kube:
        return self.here.kube

    def runner(self, namespace: str, pod: str, container: str = "main") -> PodRunner:
        """The way into a container; one TLS context for all."""
        return self.enter.into(Place(namespace, pod, container))

    def suite(self) -> Suite:
        here, found = self.here, self.here.found
        places = {one.name: one.address for one in found.chosen} if found.nodes is not None else self.scouted()
        spec = described_before(found, places)
        plans = [one for one in manifests.pod_plans(spec) if not one.host_network or "hosts" not in here.closed]
        with self.journal.step("test.deploy", f"pods and Services of the suite on {len(places)} nodes") as detail:
            wanted = self.objects(spec)
            here.create([item for item in wanted if item["kind"] != "Pod"])
            here.create([item for item in wanted if item["kind"] == "Pod"])
            if "node" not in here.closed:
                made = probe.daemon_set(here.probes, found.wish.node_image, places)
                here.create([here.mark.put(made, here.probes)])
            detail["objects"] = len(wanted)
        with self.journal.step("test.ready", "pods and endpoints ready"):
            pods, services, slices = self.ready(plans)
        sites = [self.site(plan, pods[plan.name]) for plan in plans]
        ways = {
            plan.name: probes.Site(plan.name, plan.node, site.ip, self.runner(here.namespace, plan.name,
                                   plan.containers[0]), probes.CONTAINER_BINARY)
            for plan, site in zip(plans, sites, strict=True)
        }  # fmt: skip
        with self.journal.step("existing.look", "nodes, network and names of the cluster") as detail:
            nodes = self.nodes(places) if "node" not in here.closed else _Nodes()
            first = next(site for site in sites if site.kind == "pod")
            resolver = podstate.resolv_conf(ways[first.name])
            known = self.recognised(nodes, dns=bool(_domain(resolver)))
            detail |= {"network": known.variant.name, "by": known.why}
            facts = self.node_facts(places, nodes, known, ways, sites)
            spec = self.described(spec, known, nodes, places, pods=[site.ip for site in sites if site.kind == "pod"],
                                  domain=_domain(resolver))  # fmt: skip
            limits = self.limits(nodes)
        sites = [self.with_veth(site, nodes) for site in sites]
        inventory = Inventory(
            nodes=facts,
            sites=tuple(sites),
            services=tuple(service_fact(item, slices, sites) for item in services),
            environment=self.environment(),
            reasons=dict(here.closed),
            node_dns=_nameserver(resolver),
        )
        lab = ExistingLab(spec.name, nodes.nodes, found.wish.kubeconfig)
        attached = Attached(spec, known.variant, lab, self.kube, kubectl(found), self.run.path, self.run)
        running_now = nodes.found or sandboxes.of_nodes(())
        return Suite(attached, running_now, inventory, ways, limits, here.adapt)

    def objects(self, spec: LabSpec) -> list[Object]:
        """What the suite makes here. Namespace and account are not the suite's."""
        closed = self.here.closed
        items = tenancy.without(
            [*manifests.services(spec), *manifests.endpoint_slices(), *manifests.pods(spec)],
            host_network="hosts" not in closed,
            host_ports="hport" not in closed,
            slices="slices" not in closed,
        )
        return [self.here.adapt(item) for item in items]

    def scouted(self) -> dict[str, str]:
        """Nodes that the scheduler spreads pods over, with their addresses, when nodes may not be listed."""
        size = self.here.found.wish.sample
        with self.journal.step("existing.scout", "nodes that the scheduler uses") as detail:
            items = [_scout(number) for number in range(1, size + 1)]
            self.here.create([self.here.adapt(item) for item in items])
            seen = self.kube.wait(
                f"{size} pods to be given to nodes",
                "v1",
                "Pod",
                _given,
                namespace=self.here.namespace,
                labels=f"{self.here.mark.selector},app={SCOUT}",
                deadline=timeouts.POD_RUNNING,
            )
            detail["nodes"] = len(seen)
        self.kube.delete([self.here.adapt(item) for item in items], wait=False)
        if not seen:
            msg = "the scheduler gave no pod to any node"
            raise PreflightError(msg, next_step=f"kubectl -n {self.here.namespace} describe pods")
        return seen

    def ready(self, plans: Sequence[PodPlan]) -> tuple[dict[str, Object], list[Object], list[Object]]:
        """Pods by name, Services and EndpointSlices, once they serve."""
        here = self.here

        def look(items: list[Object]) -> list[Object] | None:
            _give_up(items)
            return items if running(items, plans) else None

        only = f"{here.mark.selector},app=probe"
        what = f"{len(plans)} pods in {here.namespace} to be ready"
        pods = self.kube.wait(
            what, "v1", "Pod", look, namespace=here.namespace, labels=only, deadline=timeouts.POD_RUNNING
        )
        services = self.kube.list("v1", "Service", here.namespace, labels=here.mark.selector)
        names = ",".join(item["metadata"]["name"] for item in services)
        slices = self.kube.wait(
            f"endpoints in {here.namespace} to be ready",
            "discovery.k8s.io/v1",
            "EndpointSlice",
            lambda items: items if serving(items, pods, services) else None,
            labels=f"kubernetes.io/service-name in ({names})",
            namespace=here.namespace,
            deadline=timeouts.POD_RUNNING,
        )
        return {item["metadata"]["name"]: item for item in pods}, services, slices

    def site(self, plan: PodPlan, pod: Object) -> Site:
        """A pod of the suite as data."""
        return Site(
            name=plan.name,
            kind="hostnet" if plan.host_network else "pod",
            node=plan.node,
            ip=pod["status"]["podIP"],
            api_ips=tuple(entry["ip"] for entry in pod["status"]["podIPs"]),
            namespace=self.here.namespace,
            pod=plan.name,
            containers=plan.containers,
        )

    def nodes(self, places: Mapping[str, str]) -> _Nodes:
        """The nodes through their probes; closes the gate, with the reason, when that fails."""
        try:
            pods = self.kube.wait(
                f"a probe on each of {len(places)} nodes",
                "v1",
                "Pod",
                lambda items: _probes(items, set(places)),
                namespace=self.here.probes,
                deadline=timeouts.POD_RUNNING,
            )
            nodes = tuple(
                ExistingNode(name, IPv4Address(address), self.runner(self.here.probes, pods[name]).within)
                for name, address in places.items()
            )
            with ThreadPoolExecutor(max_workers=_workers(nodes)) as pool:
                links = dict(zip(places, pool.map(_links, nodes), strict=True))
            found = sandboxes.of_nodes(nodes)
            ours = {(one.namespace, one.pod) for one in found.sandboxes}
            if not all((self.here.probes, pod) in ours for pod in pods.values()):
                msg = "the probes do not see themselves: the runtime is not containerd, or keeps its state elsewhere"
                raise BringUpError(msg)
        except (CnilabError, json.JSONDecodeError, KeyError) as error:
            self.here.closed["node"] = str(error).replace("\n", " ")
            return _Nodes()
        return _Nodes(nodes, links, found)

    def with_veth(self, site: Site, nodes: _Nodes) -> Site:
        """A site with its node's end of the cable, where that can be seen."""
        if nodes.found is None or site.kind != "pod":
            return site
        with suppress(BringUpError):
            return site.model_copy(update={"host_veth": nodes.found.find(site.namespace, site.pod).host_veth})
        return site

    def recognised(self, nodes: _Nodes, *, dns: bool) -> Recognised:
        """The cluster's network; closes the gate, with the reason, when it is none of the catalogue's."""
        wish = self.here.found.wish
        if wish.cni:
            return Recognised(catalogue.variant(wish.cni), "named by the user")
        agents: list[Object] = []
        with suppress(ApiError):
            agents = self.kube.list("apps/v1", "DaemonSet")
        config: dict[str, Mapping[str, str]] = {}
        for driver, (namespace, name) in recognise.CONFIG_MAPS.items():
            with suppress(ApiError):
                found = self.kube.get("v1", "ConfigMap", name, namespace)
                config |= {driver: found.get("data") or {}} if found else {}
        files: tuple[str, ...] = ()
        if nodes.nodes:
            listed = nodes.nodes[0].runner.run(["ls", "/proc/1/root/etc/cni/net.d"], check=False).stdout.split()
            files = tuple(sorted(one for one in listed if one.endswith((".conflist", ".conf", ".json"))))
        names = {f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in agents}
        ours = {f"{self.here.probes}/{probe.NAME}"}
        known = recognise.recognise(Seen(frozenset(names - ours), config, files), dns=dns)
        if not known.known:
            self.here.closed["known"] = f"the network is not recognised: {known.why}"
        return known

    def node_facts(
        self,
        places: Mapping[str, str],
        nodes: _Nodes,
        known: Recognised,
        ways: Mapping[str, probes.Site],
        sites: Sequence[Site],
    ) -> tuple[NodeFact, ...]:
        """The nodes as data. Where its NIC cannot be seen, a node's MTU is its pods', and what the tunnel takes."""
        shares = {one.name: one.pod_cidr for one in self.here.found.chosen}
        expect = known.variant.expect
        takes = expect.overhead if expect.overhead_on == "interface" else 0

        def fact(name: str) -> NodeFact:
            mtu = nodes.nic(name, places[name])[2] if known.known else 0
            if not mtu:
                pod = next(site for site in sites if site.node == name and site.kind == "pod")
                mtu = podstate.link_mtu(ways[pod.name]) + takes
            return NodeFact(name=name, address=places[name], pod_cidr=shares.get(name, ""), mtu=mtu)

        with ThreadPoolExecutor(max_workers=_workers(places)) as pool:
            return tuple(pool.map(fact, places))

    def described(
        self,
        spec: LabSpec,
        known: Recognised,
        nodes: _Nodes,
        places: Mapping[str, str],
        *,
        pods: Sequence[str],
        domain: str,
    ) -> LabSpec:
        """The cluster as a spec; closes gates for what could not be found out."""
        shares = [one.pod_cidr for one in self.here.found.nodes or () if one.pod_cidr]
        cidr = known.cidr or str(survey.supernet(shares) or "")
        services = _service_range(self.kube)
        nics = {nodes.nic(name, address)[:2] for name, address in places.items()}
        names = {name for name, _ in nics}
        network = survey.supernet(str(net) for _, net in nics if net is not None)
        lacking = [
            word for word, value in (("pods", cidr), ("Services", services), ("nodes", str(network or ""))) if not value
        ]
        if lacking:
            self.here.closed["ranges"] = f"the range of {' and '.join(lacking)} is not known"
        if len(names) > 1:
            words = ", ".join(sorted(names))
            self.here.closed.setdefault("known", f"nodes have their address on links of different names: {words}")
        changes = {
            "cni": known.variant.name,
            "pods": spec.pods.model_copy(update={"cidr": IPv4Network(cidr) if cidr else survey.supernet(pods)}),
            "services": spec.services.model_copy(
                update={"domain": domain or spec.services.domain}
                | ({"cidr": IPv4Network(services)} if services else {})
            ),
            "underlay": spec.underlay.model_copy(
                update={"nic": next(iter(names)) if len(names) == 1 else ""}
                | {"cidr": network or survey.supernet(places.values())}
            ),
        }
        return spec.model_copy(update=changes)

    def limits(self, nodes: _Nodes) -> dict[str, int | bool]:
        """The neighbour limit of a node's kernel; closes the gate where it cannot be read."""
        if nodes.nodes:
            with suppress(CommandError, ValueError):
                return {"gc_thresh2": int(nodes.nodes[0].file(GC_THRESH)), "shared": False}
        self.here.closed["neigh"] = self.here.closed.get("node", f"{GC_THRESH} is not there: a kernel shows it once")
        return {}

    def environment(self) -> dict[str, bool]:
        """Gates that the cluster decides, and why they are closed."""
        closed = self.here.closed
        closed["router"] = closed["far"] = "nothing of ours plays the outside world of this cluster"
        closed["verbs"] = "calling CNI plugins by hand would change a node"
        policies = self.here.found.no_policies or "policies are not tried on clusters of others yet"
        closed["policies"] = policies
        if "known" in closed:
            closed.update((gate, closed["known"]) for gate in PROMISED if gate not in closed)
        if blind := closed.get("node") or closed.get("known"):
            closed["cap"] = blind
        return {"router": False, "far": False, "dis": False, "cap": True} | dict.fromkeys(closed, False)


def described_before(found: Survey, places: Mapping[str, str] | None = None) -> LabSpec:
    """The cluster as a spec, as far as the preflight knows it.

    Args:
        found: What the preflight found.
        places: Name and address of the nodes, when they are known.
    """
    return LabSpec.model_validate(
        {
            "name": name_of(found.access.context),
            "provider": "existing",
            "cni": found.wish.cni or recognise.GENERIC,
            "nodes": len(places or ()) or 1,
            "nodeAddresses": dict(places or {}),
            "kubernetes": {"version": found.version},
        }
    )


def name_of(context: str) -> str:
    """A context as the name of a lab: a short DNS label."""
    label = re.sub(r"[^a-z0-9]+", "-", context.lower()).strip("-")[:30].strip("-")
    return label or "cluster"


def _scout(number: int) -> Object:
    """A pod that shows a node: the scheduler spreads them."""
    item = manifests.pod(PodPlan(f"{SCOUT}-{number}", ""))
    item["metadata"]["labels"] = {"app": SCOUT}
    del item["spec"]["nodeName"]
    item["spec"]["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": SCOUT}},
        }
    ]
    # Only nodes that take pods of ours count.
    item["spec"]["tolerations"] = []
    return item


def _given(items: list[Object]) -> dict[str, str] | None:
    """Node and address of all scouts, once each has a node or cannot have one."""
    seen: dict[str, str] = {}
    for item in items:
        conditions = item.get("status", {}).get("conditions") or ()
        stuck = any(one.get("reason") == "Unschedulable" for one in conditions)
        if item.get("status", {}).get("hostIP"):
            seen[item["spec"]["nodeName"]] = item["status"]["hostIP"]
        elif not stuck:
            return None
    return dict(sorted(seen.items())) if items else None


def _give_up(items: Sequence[Object]) -> None:
    """Stop waiting for pods that will never run.

    Raises:
        BringUpError: Says which, and why.
    """
    for item in items:
        name = item["metadata"]["name"]
        status = item.get("status", {})
        if status.get("phase") == "Failed":
            msg = f"pod {name} was refused by node {item['spec'].get('nodeName')}"
            raise BringUpError(msg, cause=str(status.get("message") or status.get("reason")))
        for one in status.get("containerStatuses") or ():
            waiting = (one.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in _NEVER:
                msg = f"image {one['image']} cannot be had on node {item['spec'].get('nodeName')}"
                raise BringUpError(
                    msg,
                    cause=f"{waiting['reason']}: {waiting.get('message', '')}".strip(": "),
                    where=f"pod {name}",
                    next_step="push it to a registry of this cluster, and name it with --image; see docs/existing.md",
                )


def _probes(items: Sequence[Object], nodes: set[str]) -> dict[str, str] | None:
    """Names of the probes by node, once there is one on each."""
    _give_up(items)
    up = {
        item["spec"].get("nodeName", ""): str(item["metadata"]["name"])
        for item in items
        if item.get("status", {}).get("containerStatuses")
        and all(one.get("ready") for one in item["status"]["containerStatuses"])
    }
    return up if nodes <= set(up) else None


def _links(node: ExistingNode) -> list[dict[str, Any]]:
    node.runner.run(probe.prepare())
    listed: list[dict[str, Any]] = json.loads(node.runner.run(["ip", "-j", "addr"]).stdout)
    return listed


def _workers(items: Sequence[object] | Mapping[str, object]) -> int:
    return max(1, min(16, len(items)))


def _domain(resolver: str) -> str:
    """The cluster's zone, from a pod's search list; empty where there is none."""
    for line in resolver.splitlines():
        words = line.split()
        if words[:1] == ["search"]:
            found = [match[1] for word in words[1:] if (match := _ZONE_OF.match(word))]
            return found[0] if found else ""
    return ""


def _nameserver(resolver: str) -> str:
    """The first name server that a pod is told."""
    return next((line.split()[1] for line in resolver.splitlines() if line.startswith("nameserver ")), "")


def _service_range(kube: Kube) -> str:
    """The IPv4 range of Services (ServiceCIDR, KEP-1880); empty where it may not be read."""
    with suppress(ApiError):
        items = kube.raw("GET", "/apis/networking.k8s.io/v1/servicecidrs")["items"]
        cidrs = [cidr for item in items for cidr in item["spec"].get("cidrs") or () if ":" not in cidr]
        return str(cidrs[0]) if len(cidrs) == 1 else ""
    return ""


def kubectl(found: Survey) -> Runner:
    """The program kubectl with the user's kubeconfig, for what a person would type."""
    words = ["kubectl", "--kubeconfig", str(found.wish.kubeconfig)]
    return HostRunner((*words, *(["--context", found.wish.context] if found.wish.context else [])))
