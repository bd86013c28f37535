"""The suite in a cluster that is not ours: its pods and probes, and what they show of the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from conformance import manifests
from conformance.inventory import Inventory, Site
from conformance.manifests import PodPlan
from conformance.policy import manifests as arenas
from conformance.policy.cases import catalogue
from harness import timeouts
from harness.cluster.execute import PodRunner
from harness.cluster.kube import ApiError, Kube, Object
from harness.cluster.readiness import insist_on_pods
from harness.cluster.stream import Place
from harness.components.lock import architecture
from harness.errors import BringUpError, PreflightError
from harness.model.family import Family, family_of_dial
from harness.model.journal import Journal
from harness.model.run import RunDir
from harness.model.spec import LabSpec
from harness.probes import plan as probes
from harness.probes import podstate, sandboxes
from harness.providers.existing import probe
from harness.providers.existing.probe import ExistingLab
from harness.providers.existing.refusals import trouble
from harness.runner import HostRunner, Runner
from harness.steps.existing.described import described_before
from harness.steps.existing.look import Look, Nodes, domain_of, nameserver
from harness.steps.existing.pods import Crew, NodeLost, left_out
from harness.steps.existing.preflight import Survey
from harness.steps.existing.send import Program, Sender
from harness.steps.existing.stay import Stay, left_behind, remove
from harness.steps.lifecycle.attach import Attached
from harness.steps.suite.deploy import Suite, all_served, service_fact

SCOUT: Final = "scout"
_CONFLICT: Final = 409


@dataclass(frozen=True)
class Placed:
    """The suite in the cluster, before anything else is known.

    Args:
        spec: The cluster, as far as the preflight knows it.
        places: Name and address of the nodes.
        crew: Its pods, with their ports.
        sites: The suite's pods.
        services: Its Services.
        slices: Their endpoints.
    """

    spec: LabSpec
    places: Mapping[str, str]
    crew: Crew
    sites: tuple[Site, ...]
    services: Sequence[Object]
    slices: Sequence[Object]


def deploy(here: Stay, run: RunDir, journal: Journal, program: Program, *, policies: bool = True) -> Suite:
    """Put the suite into the cluster, wait until it serves, and find out what it is in.

    Args:
        here: The run's stay there.
        run: Its run directory.
        journal: Gets steps.
        program: What is sent, for images that do not have it.
        policies: They are to be tried, where they can be.

    Raises:
        CnilabError: The pods do not become ready, or were refused.
    """
    if not policies:
        here.closed.setdefault("policies", "they were not requested")
    return Deployment(here, run, journal, program).suite()


class Deployment:
    """The suite's way into the cluster, in the order in which one thing needs the other."""

    def __init__(self, here: Stay, run: RunDir, journal: Journal, program: Program) -> None:
        self.here = here
        self.run = run
        self.journal = journal
        self.enter = PodRunner(here.found.access, Place("", ""))
        self.sender = Sender(here, self.enter, program, journal)
        self.look = Look(here, self.enter, self.sender)
        self.seconds: dict[str, str] = {}

    @property
    def kube(self) -> Kube:
        """The cluster's API."""
        return self.here.kube

    def placed(self) -> Placed:
        """Put the suite there, and wait until it serves. A node that cannot have it is left out."""
        here = self.here
        places = self.nodes()
        if "node" not in here.closed:
            agents = probe.daemon_set(here.probes, here.probe_pod()["spec"], places)
            here.create([here.mark.put(agents, here.probes)])
        while True:
            try:
                return self.attempt(places)
            except NodeLost as lost:
                here.left_out[lost.node] = lost.reason
                places = {name: address for name, address in places.items() if name != lost.node}
                if not places:
                    raise
                with self.journal.step("existing.left-out", f"node {lost.node} left out") as detail:
                    detail["why"] = lost.reason
                    if left := remove(self.kube, here.mark.selector, here.namespace):
                        raise left_behind(here.found, left) from lost

    def nodes(self) -> dict[str, str]:
        """Name and address of the nodes that pods of the suite can run on."""
        here, found = self.here, self.here.found
        self.sender.choose()
        if found.nodes is None:
            return self.scouted()
        if here.streams or here.kit:
            ours = architecture()
            others = {one.name: one.architecture for one in found.chosen if one.architecture not in {"", ours}}
            said = {
                name: f"it runs {theirs}, but the programs to send are for {ours}" for name, theirs in others.items()
            }
            if here.streams:
                here.left_out |= said
            elif said:
                here.closed.setdefault("node", left_out(said))
        usable = [one for one in found.chosen if one.name not in here.left_out]
        places = {one.name: one.address for one in usable}
        self.seconds = {one.name: one.address_of(family) for family in found.families[1:] for one in usable}
        if not places:
            msg = "no node of the sample can run the responder"
            raise PreflightError(msg, cause=left_out(here.left_out), next_step="set a responder image with --image")
        return places

    def attempt(self, places: Mapping[str, str]) -> Placed:
        """Put the suite on nodes, and wait until it serves.

        Raises:
            NodeLost: One of the nodes cannot have its pods.
        """
        here = self.here
        spec = described_before(here.found, places, self.seconds)
        crew = Crew(here, spec, self.enter, self.sender)
        with self.journal.step("test.deploy", f"pods and Services of the suite on {len(places)} nodes") as detail:
            wanted = crew.objects()
            here.create([item for item in wanted if item["kind"] != "Pod"])
            crew.make([item for item in wanted if item["kind"] == "Pod"])
            detail["objects"] = len(wanted)
        with self.journal.step("test.ready", "pods and endpoints ready"):
            pods = crew.serving()
            services, slices = self.endpoints(list(pods.values()))
        if "policies" not in here.closed:
            with self.journal.step("test.arena", "pods for policies"):
                self.arena(tuple(places))
        sites = tuple(self.site(one, pods[one.name], spec.families) for one in crew.plans)
        return Placed(spec, places, crew, sites, services, slices)

    def suite(self) -> Suite:
        """The suite, and what it is in."""
        here, look, placed = self.here, self.look, self.placed()
        ways = {
            site.name: probes.Prober(
                site.name,
                site.node,
                site.ip,
                self.enter.into(Place(here.namespace, site.pod, site.containers[0])),
                here.binary,
                site.ips,
            )
            for site in placed.sites
        }
        pods = [site for site in placed.sites if site.kind == "pod"]
        with self.journal.step("existing.look", "nodes, network and names of the cluster") as detail:
            nodes = look.nodes(placed.places) if "node" not in here.closed else Nodes()
            resolver = podstate.resolv_conf(ways[pods[0].name])
            known = look.recognised(nodes, dns=bool(domain_of(resolver)))
            detail |= {"network": known.variant.name, "by": known.why}
            facts = tuple(
                one.model_copy(update={"host_port": placed.crew.ports[one.name].published})
                for one in look.node_facts(placed.spec, nodes, known, ways, pods)
            )
            addresses = [address for site in pods for address in site.ips]
            spec = look.described(placed.spec, known, nodes, pods=addresses, domain=domain_of(resolver))
            limits = look.limits(nodes)
            api = look.api()
        sites = tuple(look.with_veth(site, nodes) for site in placed.sites)
        inventory = Inventory(
            families=spec.families,
            nodes=facts,
            sites=sites,
            services=tuple(service_fact(item, placed.slices, sites) for item in placed.services),
            environment=look.environment(),
            reasons=dict(here.closed),
            node_dns=nameserver(resolver),
            api=api,
        )
        lab = ExistingLab(spec.name, nodes.nodes, here.found.wish.kubeconfig)
        attached = Attached(
            spec, known.variant.among(spec.families), lab, self.kube, kubectl(here.found), self.run.path, self.run
        )
        return Suite(
            attached,
            nodes.found or sandboxes.of_nodes(()),
            inventory,
            ways,
            limits,
            here.adapt,
            here.mark.selector,
            self.way,
        )

    def arena(self, nodes: Sequence[str]) -> None:
        """Make the namespaces and pods on which policies are tried; closes the gate where they cannot be had."""
        here = self.here
        items = arenas.objects(catalogue().world, nodes)
        spaces = [item for item in items if item["kind"] == "Namespace"]
        pods = [item for item in items if item["kind"] == "Pod"]
        try:
            here.create([here.mark.put(item, item["metadata"]["name"]) for item in spaces])
            refused = [why for item in spaces if (why := here.admits(item["metadata"]["name"]))]
            if not refused:
                made = [here.adapt(item, item["metadata"]["namespace"]) for item in pods]
                here.create(made)
                self.serving(made)
                return
        except ApiError as error:
            if not 400 <= error.status < 500:
                raise
            # Policies are about labels and names of namespaces, so there is one set of these in a cluster.
            another = "another run tests policies here at the same time: " if error.status == _CONFLICT else ""
            refused = [f"{another}{error.cause}"]
        except BringUpError as error:
            refused = [str(error).replace("\n", " ")]
        here.closed["policies"] = refused[0]

    def serving(self, made: Sequence[Object]) -> None:
        """Wait until pods are ready, and have the program.

        Raises:
            BringUpError: One of them never will be, or not in time.
        """
        names = {item["metadata"]["name"] for item in made}

        def up(items: list[Object]) -> list[Object]:
            for one in filter(None, map(trouble, items)):
                raise one.error
            insist_on_pods(items, {f"{namespace}/{name}" for name in names})
            return [item for item in items if item["metadata"]["name"] in names]

        for namespace in sorted({item["metadata"]["namespace"] for item in made}):
            ready = self.kube.wait(
                f"{len(names)} pods in {namespace} to be ready",
                "v1",
                "Pod",
                up,
                namespace=namespace,
                labels=self.here.mark.selector,
                deadline=timeouts.POD_RUNNING,
            )
            self.sender.fill(ready)

    def way(self, namespace: str, pod: str, name: str) -> probes.Prober:
        """A pod of the run as a place for probes."""
        return probes.Prober(name, "", "", self.enter.into(Place(namespace, pod)), self.here.binary)

    def scouted(self) -> dict[str, str]:
        """Nodes that the scheduler spreads pods over, with their addresses, when nodes may not be listed."""
        size = self.here.found.wish.sample
        with self.journal.step("existing.scout", "find the nodes that the scheduler uses") as detail:
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
        self.seconds = {name: next(iter(others), "") for name, (_, *others) in seen.items()}
        if not seen:
            msg = "the scheduler did not assign any pod to a node"
            raise PreflightError(msg, next_step=f"kubectl -n {self.here.namespace} describe pods")
        return {name: addresses[0] for name, addresses in seen.items()}

    def endpoints(self, pods: list[Object]) -> tuple[list[Object], list[Object]]:
        """Services and EndpointSlices, once these name the pods."""
        here = self.here
        services = self.kube.list("v1", "Service", here.namespace, labels=here.mark.selector)
        names = ",".join(item["metadata"]["name"] for item in services)
        slices = self.kube.wait(
            f"endpoints in {here.namespace} to be ready",
            "discovery.k8s.io/v1",
            "EndpointSlice",
            lambda items: all_served(items, pods, services),
            labels=f"kubernetes.io/service-name in ({names})",
            namespace=here.namespace,
            deadline=timeouts.POD_RUNNING,
        )
        return services, slices

    def site(self, plan: PodPlan, pod: Object, families: Sequence[Family]) -> Site:
        """A pod of the suite as data.

        Args:
            plan: What it was to be.
            pod: The object.
            families: Of the cluster: a pod may have an address more, as one in its node's network does.
        """
        listed = tuple(entry["ip"] for entry in pod["status"]["podIPs"])
        return Site(
            name=plan.name,
            kind="hostnet" if plan.host_network else "pod",
            node=plan.node,
            port=plan.port,
            ip=pod["status"]["podIP"],
            ips=tuple(one for one in listed if family_of_dial(one) in families),
            api_ips=listed,
            namespace=self.here.namespace,
            pod=plan.name,
            containers=plan.containers,
        )


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


def _given(items: list[Object]) -> dict[str, list[str]] | None:
    """Node and addresses of all scouts, once each has a node or cannot have one."""
    seen: dict[str, list[str]] = {}
    for item in items:
        conditions = item.get("status", {}).get("conditions") or ()
        stuck = any(one.get("reason") == "Unschedulable" for one in conditions)
        if item.get("status", {}).get("hostIP"):
            listed = [one["ip"] for one in item["status"].get("hostIPs") or ()]
            seen[item["spec"]["nodeName"]] = listed or [item["status"]["hostIP"]]
        elif not stuck:
            return None
    return dict(sorted(seen.items())) if items else None


def kubectl(found: Survey) -> Runner:
    """The program kubectl with the user's kubeconfig, for what a person would type."""
    words = ["kubectl", "--kubeconfig", str(found.wish.kubeconfig)]
    return HostRunner((*words, *(["--context", found.wish.context] if found.wish.context else [])))
