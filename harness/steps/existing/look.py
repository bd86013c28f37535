"""What a cluster that is not ours turns out to be: nodes, network, ranges and names; and what stays unseen."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import Any, Final

from conformance.inventory import ApiServer, NodeFact, Site
from harness import timeouts
from harness.cluster.execute import PodRunner
from harness.cluster.kube import ApiError, Kube, Object
from harness.cluster.readiness import insist
from harness.cluster.stream import Place
from harness.cni import catalogue, networks, recognise
from harness.cni.recognise import Recognised, Seen
from harness.errors import BringUpError, CnilabError
from harness.model.family import Family, Range, family_of_dial
from harness.model.spec import LabSpec
from harness.probes import plan as probes
from harness.probes import podstate, sandboxes
from harness.providers.existing import probe, survey
from harness.providers.existing.probe import ExistingNode
from harness.providers.existing.refusals import trouble
from harness.steps.existing.preflight import SERVICE_CIDRS
from harness.steps.existing.send import Sender
from harness.steps.existing.stay import Stay
from harness.steps.suite.api import api_server
from harness.steps.suite.deploy import GC_THRESH, own_limits

PROMISED: Final = ("np", "masq", "nfmasq", "ncidr", "lease", "ovl", "fdb", "agentfile", "hport", "kpf", "cni4")
"""Gates that only a network's own data can open."""

_ZONE_OF = re.compile(r"^\S+\.svc\.(\S+)$")


@dataclass(frozen=True)
class Nodes:
    """The nodes through their probes.

    Args:
        nodes: All of them, or none.
        links: `ip -j addr` of each.
        found: What runs there.
    """

    nodes: tuple[ExistingNode, ...] = ()
    links: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
    found: sandboxes.Sandboxes | None = None

    def nic(self, name: str, address: str) -> tuple[str, Range | None, int]:
        """Name, network and MTU of the link that has a node's address."""
        for link in (self.links or {}).get(name, ()):
            for one in link.get("addr_info", ()):
                if one.get("local") == address:
                    return str(link["ifname"]), ip_interface(f"{address}/{one['prefixlen']}").network, int(link["mtu"])
        return "", None, 0


class Look:
    """Finds out about a cluster, and closes gates, with the reason, for what cannot be found out.

    Args:
        here: The run's stay there.
        enter: The way into pods; one TLS context for all.
        sender: Brings programs into probes, where images do not.
    """

    def __init__(self, here: Stay, enter: PodRunner, sender: Sender) -> None:
        self.here = here
        self.enter = enter
        self.sender = sender

    @property
    def kube(self) -> Kube:
        """The cluster's API."""
        return self.here.kube

    def nodes(self, places: Mapping[str, str]) -> Nodes:
        """The nodes through their probes; closes the gate, with the reason, when that fails."""
        try:
            return self.reached(places)
        except CnilabError as error:
            self.here.closed["node"] = str(error).replace("\n", " ")
            return Nodes()

    def reached(self, places: Mapping[str, str]) -> Nodes:
        """The nodes through their probes.

        Args:
            places: Name and address of the nodes.

        Raises:
            CnilabError: There is no probe on one of them, or it cannot read what it is there for.
        """
        pods = self.kube.wait(
            f"a probe on each of {len(places)} nodes",
            "v1",
            "Pod",
            lambda items: _probes(items, set(places)),
            namespace=self.here.probes,
            deadline=timeouts.POD_RUNNING,
        )
        self.sender.equip(pods.values())
        names = {name: str(pod["metadata"]["name"]) for name, pod in pods.items()}
        nodes = tuple(
            ExistingNode(name, ip_address(address), self.way(names[name]).within) for name, address in places.items()
        )
        try:
            with ThreadPoolExecutor(max_workers=_workers(nodes)) as pool:
                links = dict(zip(places, pool.map(_links, nodes), strict=True))
            found = sandboxes.of_nodes(nodes)
        except (ValueError, KeyError) as error:
            msg = "a probe's programs print what cannot be read"
            raise BringUpError(msg, cause=f"{type(error).__name__}: {error}") from error
        ours = {(one.namespace, one.pod) for one in found.sandboxes}
        if not all((self.here.probes, pod) in ours for pod in names.values()):
            msg = "the probes do not find their own pods: the runtime is not containerd, or its state is elsewhere"
            raise BringUpError(msg)
        return Nodes(nodes, links, found)

    def way(self, pod: str) -> PodRunner:
        """The way to a probe's programs."""
        runner = self.enter.into(Place(self.here.probes, pod))
        return runner.rooted(*probe.into_kit(self.here.binary)) if self.here.kit else runner

    def with_veth(self, site: Site, nodes: Nodes) -> Site:
        """A site with its node's end of the cable, where that can be seen."""
        if nodes.found is None or site.kind != "pod":
            return site
        with suppress(BringUpError):
            return site.model_copy(update={"host_veth": nodes.found.find(site.namespace, site.pod).host_veth})
        return site

    def recognised(self, nodes: Nodes, *, dns: bool) -> Recognised:
        """The cluster's network; closes the gate, with the reason, when it is none of the catalogue's."""
        wish = self.here.found.wish
        if wish.cni:
            return Recognised(catalogue.variant(wish.cni), "set by the user")
        agents: list[Object] = []
        with suppress(ApiError):
            agents = self.kube.list("apps/v1", "DaemonSet")
        config: dict[str, Mapping[str, str]] = {}
        for driver, configured in networks.configurations().items():
            with suppress(ApiError):
                found = self.kube.get("v1", "ConfigMap", configured.name, configured.namespace)
                config |= {driver: found.get("data") or {}} if found else {}
        files: tuple[str, ...] = ()
        if nodes.nodes:
            listed = nodes.nodes[0].runner.run(["ls", "/proc/1/root/etc/cni/net.d"], check=False).stdout.split()
            files = tuple(sorted(one for one in listed if one.endswith((".conflist", ".conf", ".json"))))
        names = {f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in agents}
        ours = {f"{self.here.probes}/{probe.NAME}"}
        known = recognise.recognise(Seen(frozenset(names - ours), config, files), dns=dns)
        if not known.known:
            self.here.closed["known"] = f"the network is unknown: {known.why}"
        return known

    def node_facts(
        self,
        spec: LabSpec,
        nodes: Nodes,
        known: Recognised,
        ways: Mapping[str, probes.Prober],
        sites: Sequence[Site],
    ) -> tuple[NodeFact, ...]:
        """The nodes as data. Where its NIC cannot be seen, a node's MTU is its pods', and what the tunnel takes."""
        known_nodes = {one.name: one for one in self.here.found.chosen}
        expect = known.variant.expect
        takes, places = -expect.link_mtu(0), _places(spec)

        def fact(name: str) -> NodeFact:
            mtu = nodes.nic(name, places[name])[2] if known.known else 0
            if not mtu:
                pod = next(site for site in sites if site.node == name and site.kind == "pod")
                mtu = podstate.link_mtu(ways[pod.name]) + takes
            own = known_nodes.get(name)
            return NodeFact(
                name=name,
                address=places[name],
                addresses=tuple(map(str, spec.all_addresses(name))),
                pod_cidr=own.pod_cidr if own else "",
                pod_cidrs=own.pod_cidrs if own else (),
                mtu=mtu,
            )

        with ThreadPoolExecutor(max_workers=_workers(places)) as pool:
            return tuple(pool.map(fact, places))

    def described(
        self,
        spec: LabSpec,
        known: Recognised,
        nodes: Nodes,
        *,
        pods: Sequence[str],
        domain: str,
    ) -> LabSpec:
        """The cluster as a spec; closes gates for what could not be found out."""
        services = _service_ranges(self.kube)
        ranges = {family: self._ranges(spec, known, nodes, services, family) for family in spec.families}
        lacking = {word: None for one in ranges.values() for word, value in one.items() if value is None}
        if lacking:
            self.here.closed["ranges"] = f"the range of {' and '.join(lacking)} is not known"
        names = {nodes.nic(name, address)[0] for name, address in _places(spec).items()}
        if len(names) > 1:
            words = ", ".join(sorted(names))
            self.here.closed.setdefault("known", f"the links with the nodes' addresses have different names: {words}")
        parts: dict[str, dict[str, Any]] = {
            "pods": {},
            "services": {"domain": domain or spec.services.domain},
            "underlay": {"nic": next(iter(names)) if len(names) == 1 else ""},
        }
        for family, found in ranges.items():
            field = "cidr" if family == "ipv4" else "cidr6"
            own = [str(spec.node_address(name, family)) for name in spec.node_names]
            parts["pods"][field] = found["pods"] or survey.supernet(pods, family)
            parts["services"] |= {field: found["Services"]} if found["Services"] else {}
            parts["underlay"][field] = found["nodes"] or survey.supernet(own, family)
        changes = {name: getattr(spec, name).model_copy(update=update) for name, update in parts.items()}
        return spec.model_copy(update={"cni": known.variant.name, **changes})

    def _ranges(
        self, spec: LabSpec, known: Recognised, nodes: Nodes, services: Sequence[str], family: Family
    ) -> dict[str, Range | None]:
        """Ranges of one family, as far as they are known, by what has addresses of them."""
        shares = [share for one in self.here.found.nodes or () for share in one.pod_cidrs]
        told = survey.supernet(known.cidr.replace(",", " ").split(), family)
        nics = [nodes.nic(name, str(spec.node_address(name, family)))[1] for name in spec.node_names]
        return {
            "pods": told or survey.supernet(shares, family),
            "Services": survey.supernet(services, family),
            "nodes": survey.supernet((str(one) for one in nics if one is not None), family),
        }

    def limits(self, nodes: Nodes) -> dict[str, int | bool]:
        """The neighbour limits of a node's kernel; closes the gate where none can be read."""
        if nodes.nodes and (own := own_limits(nodes.nodes[0])):
            return own
        self.here.closed["neigh"] = self.here.closed.get(
            "node", f"/proc/{GC_THRESH['ipv4']} does not exist: a kernel shows it only in the first network namespace"
        )
        return {}

    def api(self) -> ApiServer | None:
        """The API server as pods find it; closes the gate, with the reason, where it may not be read."""
        why = "the Service kubernetes has no endpoint"
        try:
            found = api_server(self.kube, self.here.namespace)
        except ApiError as error:
            found, why = None, str(error).replace("\n", " ")
        if found is None:
            self.here.closed["api"] = why
        return found

    def environment(self) -> dict[str, bool]:
        """Gates that the cluster decides, and why they are closed."""
        closed = self.here.closed
        closed["router"] = closed["far"] = "this cluster has no router of the suite"
        closed["verbs"] = "a direct call of CNI plugins would change a node"
        closed["kubelet"] = "the probes of a kubelet could only be counted with rights to nodes"
        closed["hostip"] = "a run takes a single host port of a cluster's nodes"
        if len(self.here.found.chosen) == 1:
            closed.setdefault("hport", "there is no other node and no router from which to dial a host port")
        if "known" in closed:
            closed.update((gate, closed["known"]) for gate in PROMISED if gate not in closed)
        if blind := closed.get("node") or closed.get("known"):
            closed["cap"] = blind
        return {"router": False, "far": False, "dis": False, "cap": True} | dict.fromkeys(closed, False)


def _probes(items: Sequence[Object], nodes: set[str]) -> dict[str, Object]:
    """Probes by node, once there is one on each."""
    for one in filter(None, map(trouble, items)):
        raise one.error
    up = {
        item["spec"].get("nodeName", ""): item
        for item in items
        if item.get("status", {}).get("containerStatuses")
        and all(one.get("ready") for one in item["status"]["containerStatuses"])
    }
    insist({f"node {name}": "its probe is not ready" for name in sorted(nodes - set(up))})
    return up


def _links(node: ExistingNode) -> list[dict[str, Any]]:
    node.runner.run(probe.prepare())
    listed: list[dict[str, Any]] = json.loads(node.runner.run(["ip", "-j", "addr"]).stdout)
    return listed


def _workers(items: Sequence[object] | Mapping[str, object]) -> int:
    return max(1, min(16, len(items)))


def domain_of(resolver: str) -> str:
    """The cluster's zone, from a pod's search list; empty where there is none."""
    for line in resolver.splitlines():
        words = line.split()
        if words[:1] == ["search"]:
            found = [match[1] for word in words[1:] if (match := _ZONE_OF.match(word))]
            return found[0] if found else ""
    return ""


def nameserver(resolver: str) -> str:
    """The first name server that a pod is told."""
    return next((line.split()[1] for line in resolver.splitlines() if line.startswith("nameserver ")), "")


def _places(spec: LabSpec) -> dict[str, str]:
    """Nodes and their addresses in the primary family."""
    return {name: str(spec.node_address(name)) for name in spec.node_names}


def _service_ranges(kube: Kube) -> list[str]:
    """The ranges of Services, at most one of each family; none of a family that has several, or may not be read."""
    with suppress(ApiError):
        items = kube.raw("GET", SERVICE_CIDRS)["items"]
        cidrs = [str(cidr) for item in items for cidr in item["spec"].get("cidrs") or ()]
        count = Counter(map(family_of_dial, cidrs))
        return [cidr for cidr in cidrs if count[family_of_dial(cidr)] == 1]
    return []
