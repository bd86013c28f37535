"""Preflight of a cluster that is not ours: reachable, allowed, which nodes, and what can be measured there."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from harness.cluster.access import Access
from harness.cluster.contexts import load
from harness.cluster.kube import ApiError, Kube, Object
from harness.errors import PreflightError, UsageError
from harness.model.family import TITLE, Family
from harness.providers.existing import families, survey, trouble
from harness.providers.existing import rights as rbac
from harness.providers.existing.rights import Rights
from harness.providers.existing.survey import NodeInfo
from harness.providers.existing.tenancy import ENFORCE

RESPONDER: Final = "cnilab.dev/responder:1"
TOOLBOX: Final = "cnilab.dev/toolbox:1"

POLL: Final = 0.5
"""Seconds between two looks at somebody else's API server."""

PAGE: Final = 500
"""Nodes that one request lists."""

SERVICE_CIDRS: Final = "/apis/networking.k8s.io/v1/servicecidrs"
"""Ranges of Services (ServiceCIDR, KEP-1880)."""

_MODEST: Final = "not requested (--pods-only)"

Status = Literal["ok", "limits", "blocks", "info"]


@dataclass(frozen=True)
class Wish:
    """What the user asks for.

    Args:
        kubeconfig: The file.
        context: Of it; empty for the current one.
        namespace: A namespace that is there already, in which to work; empty: one is made and removed.
        image: Where nodes get the responder, or any image with a shell; empty: one that is on the nodes.
        node_image: Where nodes get the toolbox, for the probe on nodes; empty: its programs are sent, or are there.
        sample: How many nodes to look at.
        seed: Picks them.
        cni: Name of the network's variant, when the user knows it.
        pods_only: No probe on nodes, even where it is allowed.
    """

    kubeconfig: Path
    context: str = ""
    namespace: str = ""
    image: str = ""
    node_image: str = ""
    sample: int = survey.SAMPLE
    seed: int = 1
    cni: str = ""
    pods_only: bool = False


@dataclass(frozen=True)
class Row:
    """One line of the preflight's table.

    Args:
        id: Stable.
        title: What was looked at.
        status: ok; limits: something cannot be measured; blocks: nothing can; info.
        detail: What was found.
        consequence: What follows from it; empty for nothing.
    """

    id: str
    title: str
    status: Status
    detail: str
    consequence: str = ""


@dataclass(frozen=True)
class Survey:
    """What the preflight found.

    Args:
        wish: What was asked for.
        access: The way to the cluster.
        kube: Its API.
        version: Of Kubernetes, as 1.34.1.
        rights: What this user may do.
        nodes: All of them; None when they may not be listed.
        chosen: The sample.
        enforced: Pod Security level of the user's namespace; empty when unknown or none.
        families: IP families of the cluster, the primary one first.
    """

    wish: Wish
    access: Access
    kube: Kube
    version: str
    rights: Rights
    nodes: tuple[NodeInfo, ...] | None
    chosen: tuple[NodeInfo, ...]
    enforced: str = ""
    families: tuple[Family, ...] = families.USUAL

    @property
    def own_namespace(self) -> bool:
        """The run makes its namespaces, and removes them."""
        return not self.wish.namespace

    @property
    def no_hosts(self) -> str:
        """Why pods may not use their node's network, as far as it is known before one is tried; empty: they may."""
        if self.wish.pods_only:
            return _MODEST
        if self.own_namespace or self.enforced in {"", "privileged"}:
            return ""
        return f"namespace {self.wish.namespace} enforces Pod Security '{self.enforced}'"

    @property
    def no_probes(self) -> str:
        """Why there can be no probe on nodes; empty: there can."""
        if self.wish.pods_only:
            return _MODEST
        if self.nodes is None:
            return self.rights.why("nodes")
        if not self.rights.has("probes"):
            return self.rights.why("probes")
        if self.own_namespace:
            return ""
        if not self.rights.has("namespaces"):
            return f"a probe needs its own namespace, but this user is {self.rights.why('namespaces')}"
        return ""

    @property
    def no_policies(self) -> str:
        """Why policies cannot be tried; empty: they can."""
        for part in ("namespaces", "policies"):
            if not self.rights.has(part):
                return self.rights.why(part)
        if self.no_hosts:
            return f"its cases need pods in their node's network: {self.no_hosts}"
        return "" if self.own_namespace else "policies are tested in their own namespaces, not in a given one"

    @property
    def blocked(self) -> PreflightError | None:
        """Why nothing can be measured at all."""
        if not self.rights.has("pods") or (self.own_namespace and not self.rights.has("namespaces")):
            lacking = self.rights.lacking("pods") + (self.rights.lacking("namespaces") if self.own_namespace else [])
            hint = (
                "give this user the Role in docs/existing.md in a namespace, and set --namespace"
                if self.own_namespace
                else "docs/existing.md has the smallest Role"
            )
            msg = f"user '{self.access.user}' lacks rights that a run needs"
            return PreflightError(
                msg,
                cause="\n".join(f"not allowed: {right} {self.rights.denied[right]}".strip() for right in lacking),
                where=self.access.server,
                next_step=hint,
            )
        if self.nodes is not None and not self.chosen:
            msg = "no node of the cluster can run the suite's pods"
            obstacles = "\n".join(f"{one.name} {one.obstacle}" for one in self.nodes[:10]) or "there is no node"
            return PreflightError(msg, cause=obstacles, where=self.access.server, next_step="kubectl get nodes -o wide")
        return None


def examine(wish: Wish, wanted: Sequence[rbac.Right] = rbac.WANTED) -> Survey:
    """Ask everything that decides what a run can do; changes nothing.

    Args:
        wish: What the user asks for.
        wanted: Rights that are asked about.

    Raises:
        UsageError: The kubeconfig, or the context, is wrong.
        PreflightError: The cluster cannot be reached, or does not let this user in.
    """
    if not 1 <= wish.sample <= survey.MOST:
        msg = f"a sample of {wish.sample} nodes is not possible"
        raise UsageError(msg, cause=f"1 to {survey.MOST}", next_step="--sample 10")
    access = load(wish.kubeconfig.absolute(), wish.context)
    kube = Kube(wish.kubeconfig, access=access, interval=POLL)
    way = trouble.Way(str(wish.kubeconfig), access.context, access.server, access.user, access.cert)
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="preflight") as pool:
        try:
            version = kube.raw("GET", "/version", timeout=10.0)
        except ApiError as error:
            raise trouble.explain(way, error.status, error.cause, datetime.now(UTC)) from error
        try:
            reviews = [(right, pool.submit(_review, kube, wish, right)) for right in wanted]
            enforced = pool.submit(_enforced, kube, wish.namespace)
            found = rbac.answers((right, review.result()) for right, review in reviews)
        except ApiError as error:
            raise trouble.explain(way, error.status, error.cause, datetime.now(UTC)) from error
        nodes = _nodes(kube) if found.has("nodes") else None
        has = _families(kube, nodes or (), pool)
    nodes = None if nodes is None else families.within(nodes, has)
    return Survey(
        wish=wish,
        access=access,
        kube=kube,
        version=str(version.get("gitVersion", "")).removeprefix("v").partition("+")[0].partition("-")[0],
        rights=found,
        nodes=nodes,
        chosen=survey.choose(nodes or (), wish.sample, wish.seed),
        enforced=enforced.result(),
        families=has,
    )


def _review(kube: Kube, wish: Wish, right: rbac.Right) -> rbac.Object:
    # A namespace that is still to be made has no Roles: what is allowed in all namespaces is allowed there.
    namespace = wish.namespace if right.scope == "suite" else ""
    answer: rbac.Object = kube.raw("POST", rbac.REVIEWS, right.review(namespace), timeout=10.0)
    return answer


def _enforced(kube: Kube, namespace: str) -> str:
    """Pod Security level of a namespace; empty when it has none, or may not be read."""
    if not namespace:
        return ""
    with suppress(ApiError):
        found = kube.get("v1", "Namespace", namespace)
        return str(((found or {}).get("metadata", {}).get("labels") or {}).get(ENFORCE, ""))
    return ""


def _families(kube: Kube, nodes: Sequence[NodeInfo], pool: ThreadPoolExecutor) -> tuple[Family, ...]:
    """IP families of the cluster, from what may be read of it: nobody needs a right for this."""

    def listed(path: str) -> list[Object]:
        with suppress(ApiError):
            return list(kube.raw("GET", path, query={"limit": str(PAGE)})["items"])
        return []

    def service(name: str, namespace: str) -> Object | None:
        with suppress(ApiError):
            return kube.get("v1", "Service", name, namespace)
        return None

    pods = pool.submit(listed, kube.path("v1", "Pod", "kube-system"))
    ranges = pool.submit(listed, SERVICE_CIDRS)
    services = [pool.submit(service, *one) for one in (("kubernetes", "default"), ("kube-dns", "kube-system"))]
    return families.of_cluster(
        pods.result(),
        nodes,
        [found for one in services if (found := one.result())],
        [cidr for item in ranges.result() for cidr in item["spec"].get("cidrs") or ()],
    )


def _nodes(kube: Kube) -> tuple[NodeInfo, ...]:
    """All nodes, page by page."""
    found: list[NodeInfo] = []
    more = ""
    while True:
        query = {"limit": str(PAGE), **({"continue": more} if more else {})}
        answer = kube.raw("GET", kube.path("v1", "Node"), query=query)
        found += [survey.node(item) for item in answer["items"]]
        more = answer["metadata"].get("continue", "")
        if not more:
            return tuple(found)


def rows(found: Survey) -> list[Row]:
    """The table: what was looked at, what was found, and what cannot be measured because of it."""
    listed = [
        Row("cluster", "Kubernetes", "ok", f"{found.version} at {found.access.server} as '{found.access.user}'"),
        *_family_rows(found),
        *_node_rows(found),
        _namespace_row(found),
    ]
    listed.append(
        _vantage("pods", "vantage of pods", "" if found.rights.has("pods") else found.rights.why("pods"),
                 "programs run in pods", "the suite cannot run", worst="blocks")
    )  # fmt: skip
    listed.append(
        _vantage("hosts", "pods in a node's network", found.no_hosts, "allowed, as far as can be checked now",
                 "paths between nodes and pods, and host ports, are not measured")
    )  # fmt: skip
    listed.append(
        _vantage("node", "vantage of nodes and of the wire", found.no_probes,
                 "a privileged probe on each node of the sample",
                 "routes, rules, tables and packets are not examined")
    )  # fmt: skip
    listed.append(
        _vantage("slices", "endpoints of our own", "" if found.rights.has("slices") else found.rights.why("slices"),
                 "may be written", "Services that move, and large DNS answers, are not measured")
    )  # fmt: skip
    listed.append(
        _vantage("policies", "NetworkPolicy", found.no_policies, "may be tested in namespaces of the run",
                 "policies are not measured")
    )  # fmt: skip
    seen = found.rights.has("network") or not found.no_probes
    listed.append(
        _vantage("network", "network of the cluster", "" if seen or found.wish.cni else found.rights.why("network"),
                 found.wish.cni or "agents and their configuration may be read",
                 "only the Kubernetes model is checked; set the network with --network")
    )  # fmt: skip
    listed.append(
        Row("router", "the outside world", "limits", "there is no router of the suite",
            "egress, masquerading, NodePorts from outside and path MTU discovery are not measured")
    )  # fmt: skip
    return listed


def _family_rows(found: Survey) -> list[Row]:
    """A line for what is not the usual case."""
    if found.families == families.USUAL:
        return []
    return [Row("families", "IP families", "ok", " and ".join(TITLE[one] for one in found.families))]


def _vantage(id_: str, title: str, why_not: str, good: str, consequence: str, *, worst: Status = "limits") -> Row:
    return Row(id_, title, worst, why_not, consequence) if why_not else Row(id_, title, "ok", good)


def _node_rows(found: Survey) -> list[Row]:
    if found.nodes is None:
        words = "nodes may not be listed"
        rows_ = [Row("nodes", "nodes", "limits", words, "the nodes are found by pods that the scheduler places")]
        if not found.wish.image:
            words = f"{RESPONDER}, because the nodes' images are unknown"
            rows_.append(
                Row("image", "image", "limits", words, "if nodes do not have it, set another image with --image")
            )
        return rows_
    bad = [one for one in found.nodes if not one.usable]
    zones = {one.zone for one in found.nodes if one.zone}
    detail = f"{len(found.nodes)} nodes" + (f" in {len(zones)} zones" if zones else "")
    systems = sorted({one.system for one in found.nodes})
    detail += f", {', '.join(systems)}" if systems else ""
    rows_ = [
        Row("nodes", "nodes", "limits", f"{detail}; not usable: {'; '.join(f'{x.name} {x.obstacle}' for x in bad[:5])}",
            f"{len(bad)} of them are left out")
        if bad
        else Row("nodes", "nodes", "ok", detail)
    ]  # fmt: skip
    usable = len(found.nodes) - len(bad)
    if not usable:
        return [
            *rows_,
            Row("sample", "sample", "blocks", "no node can run the suite's pods", "the suite cannot run"),
        ]
    whole = len(found.chosen) == usable
    words = f"{len(found.chosen)} of {usable} nodes, seed {found.wish.seed}: {', '.join(x.name for x in found.chosen)}"
    rows_.append(
        Row("sample", "sample", "ok" if whole else "info", words, "" if whole else "the other nodes are not examined")
    )
    if len(found.chosen) == 1:
        rows_.append(
            Row("multi", "paths between nodes", "limits", "one node", "paths between nodes cannot be measured")
        )  # fmt: skip
    return rows_


def _namespace_row(found: Survey) -> Row:
    if found.own_namespace:
        if found.rights.has("namespaces"):
            return Row("namespace", "namespace", "ok", "created for the run and removed at the end")
        return Row("namespace", "namespace", "blocks", found.rights.why("namespaces"), "set one with --namespace")
    level = f", Pod Security '{found.enforced}'" if found.enforced else ""
    return Row("namespace", "namespace", "ok", f"{found.wish.namespace}{level}; everything of the run is removed")
