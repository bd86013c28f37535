"""What a judge is given: the observations of a run, and what to hold them against. Never a live cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from conformance import families
from conformance.batches import BATCHES
from conformance.inventory import Inventory, Site
from harness.model import features
from harness.model.family import Family
from harness.model.records import Burst, Churn, Dump, Exchange, Lookup, Observation, Rung, Tap
from harness.model.run import RunDir
from harness.model.spec import LabSpec
from harness.model.variant import Expectations, Variant

ExchangeKey = tuple[str, str, str, str]

DEVIATIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "ipvs": {
        "svc.etp-local": "without a local endpoint kube-proxy's IPVS forwards to other nodes and relies on replies "
        "being discarded (pkg/proxy/ipvs/proxier.go); they are not discarded where nodes masquerade traffic to pods"
    }
}
"""What kube-proxy is known not to do, by its mode."""


_SUBJECTS: Final[Mapping[str, str]] = {
    "addr": "links",
    "counters": "counters",
    "fdb": "forwarding entries (FDB)",
    "kernel": "limits",
    "leases": "lease store",
    "moved": "new endpoint",
    "node-join": "node that came back",
    "node-loss": "routes to a node that left",
    "neigh": "neighbour entries",
    "netns": "network namespace",
    "conf": "files of the network",
    "node-objects": "annotations of nodes",
    "processes": "processes",
    "policy-rules": "policy-routing rules",
    "programs": "eBPF programs",
    "queues": "queues of devices",
    "resolv-conf": "/etc/resolv.conf",
    "route": "routes",
    "rules": "rules",
    "rules-iptables": "rules",
    "rules-legacy": "rules",
    "rules-nft": "rules",
    "sandboxes": "sandboxes",
    "strays": "packets that were sent into connections",
    "sysctl": "sysctls",
    "verbs": "answers of CNI plugins",
}
"""Subjects of dumps, as a sentence has them."""


class UnreadError(Exception):
    """What a judge asked for was asked of the cluster, and did not come: nothing can be said about the network."""


def could_not(place: str, what: str, why: str) -> str:
    """The sentence about a dump that failed.

    Args:
        place: A node or a pod.
        what: The subject of the dump.
        why: What the command said.
    """
    subject = _SUBJECTS.get(what, what)
    return f"{subject if subject.startswith('/') else f'the {subject}'} of {place} could not be read: {why}"


@dataclass(frozen=True)
class Context:
    """A run as data.

    Args:
        spec: What was asked for.
        variant: What the network promises.
        inventory: What was there.
        observations: What the probes saw, in the order in which they saw it.
    """

    spec: LabSpec
    variant: Variant
    inventory: Inventory
    observations: tuple[Observation, ...]
    memo: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    whole: Context | None = field(default=None, repr=False, compare=False)

    @property
    def family(self) -> Family:
        """The IP family that is looked at; of a whole run, the primary one."""
        return self.inventory.families[0]

    def of(self, family: Family) -> Context:
        """The run as one family shows it: `conformance.families`."""
        views: dict[Family, Context] = self.memo.setdefault("views", {})
        if family not in views:
            views[family] = self._view(family)
        return views[family]

    def _view(self, family: Family) -> Context:
        if self.inventory.families == (family,) and family == "ipv4":
            return self
        first = family == self.inventory.families[0]
        return replace(
            self,
            inventory=families.inventory_of(self.inventory, family),
            observations=tuple(families.observations_of(self.observations, family, first=first)),
            memo={},
            whole=self,
        )

    @property
    def entire(self) -> Context:
        """The whole run, for who has to see all families."""
        return self.whole or self

    @property
    def expect(self) -> Expectations:
        """What is true of every healthy cluster of this variant, in this family."""
        return self.variant.expect.of(self.family)

    @property
    def pod_range(self) -> str:
        """The cluster CIDR."""
        return str(self.spec.pods.range(self.family))

    @property
    def service_range(self) -> str:
        """The Service range."""
        return str(self.spec.services.range(self.family))

    @cached_property
    def gates(self) -> dict[str, bool]:
        """Truth of every gate: the lab decides some, the variant declares the rest."""
        if self.whole is not None:
            return self.whole.gates
        there = self.inventory.families
        of_families = {"v6": "ipv6" in there, "dual": len(there) > 1}
        truth = features.gates(self.variant, len(self.inventory.nodes), self.inventory.environment)
        return truth | of_families

    @cached_property
    def deviations(self) -> dict[str, str]:
        """Requirement id -> why it is known not to be met: by the variant, and by kube-proxy in its mode."""
        of_mode = DEVIATIONS.get(self.spec.kubernetes.proxy_mode, {}) if self.variant.kube_proxy else {}
        return {**of_mode, **self.variant.deviations}

    @cached_property
    def exchanges(self) -> dict[str, tuple[Exchange, ...]]:
        """Exchanges by purpose."""
        return _by((one for one in self.observations if isinstance(one, Exchange)), "purpose")

    @cached_property
    def lookups(self) -> dict[str, tuple[Lookup, ...]]:
        """DNS lookups by purpose."""
        return _by((one for one in self.observations if isinstance(one, Lookup)), "purpose")

    @cached_property
    def rungs(self) -> tuple[Rung, ...]:
        """All steps of MTU ladders."""
        return tuple(one for one in self.observations if isinstance(one, Rung))

    @cached_property
    def bursts(self) -> dict[str, tuple[Burst, ...]]:
        """One-way streams by purpose."""
        return _by((one for one in self.observations if isinstance(one, Burst)), "purpose")

    @cached_property
    def churns(self) -> tuple[Churn, ...]:
        """Series of many connections."""
        return tuple(one for one in self.observations if isinstance(one, Churn))

    @cached_property
    def taps(self) -> tuple[Tap, ...]:
        """All captures."""
        return tuple(one for one in self.observations if isinstance(one, Tap))

    @cached_property
    def dumps(self) -> dict[tuple[str, str, str], Any]:
        """Data of the last dump of each vantage, place and subject."""
        return {(one.vantage, one.place, one.what): one.data for one in self.observations if isinstance(one, Dump)}

    @cached_property
    def batched_dumps(self) -> dict[tuple[str, str, str, str], Any]:
        """Data of the last dump of each batch, vantage, place and subject: for what is compared before and after."""
        return {
            (one.batch, one.vantage, one.place, one.what): one.data
            for one in self.observations
            if isinstance(one, Dump)
        }

    @cached_property
    def _keyed(self) -> dict[ExchangeKey, Exchange]:
        return {
            (one.purpose, one.src, one.dst, one.proto): one for one in self.observations if isinstance(one, Exchange)
        }

    def exchange(self, purpose: str, src: str, dst: str, proto: str) -> Exchange | None:
        """The last exchange of that kind between two sites."""
        return self._keyed.get((purpose, src, dst, proto))

    def node_dump(self, node: str, what: str) -> Any:
        """What a node's kernel said; None when it was not asked. Raises UnreadError as `read` does."""
        return self.read("node", node, what)

    def pod_dump(self, pod: str, what: str) -> Any:
        """What a pod's kernel said; None when it was not asked. Raises UnreadError as `read` does."""
        return self.read("pod", pod, what)

    def api(self, what: str) -> Any:
        """What the API said; None when it was not asked. Raises UnreadError as `read` does."""
        return self.read("api", "cluster", what)

    def read(self, vantage: str, place: str, what: str) -> Any:
        """What was dumped last; None when nobody asked.

        Raises:
            UnreadError: The command failed: without its answer nothing can be said about the network.
        """
        data = self.attempt(vantage, place, what)
        if isinstance(data, Mapping) and set(data) == {"error"}:
            raise UnreadError(could_not(place, what, str(data["error"])))
        return data

    def attempt(self, vantage: str, place: str, what: str) -> Any:
        """The same for who can do without: `{"error": …}` where the command failed."""
        return self.dumps.get((vantage, place, families.subject(what, self.family)))

    def effective(self, node: str) -> int:
        """Effective pod MTU E = U - O of a node, in bytes."""
        return self.expect.pod_mtu(self.inventory.node(node).mtu)

    def site(self, name: str) -> Site:
        """A site by its name."""
        return self.inventory.by_name[name]

    def pairs(self, *, cross: bool) -> tuple[tuple[Site, Site], ...]:
        """Ordered pairs of pods on different nodes, or of different pods on the same node."""
        return tuple(
            (src, dst)
            for src in self.inventory.pods
            for dst in self.inventory.pods
            if src.name != dst.name and (src.node != dst.node) is cross
        )


def _by(items: Iterable[Any], name: str) -> dict[str, tuple[Any, ...]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for item in items:
        groups[getattr(item, name)].append(item)
    return {key: tuple(group) for key, group in groups.items()}


INVENTORY = "inventory"
"""`what` of the API dump that carries the inventory of a run."""

VARIANT = "variant"
"""`what` of the API dump that carries the variant's data, so that a run can be judged again years later."""


def saved(inventory: Inventory, variant: Variant) -> tuple[Dump, ...]:
    """The two dumps that make a run directory complete for its judges."""
    return (
        Dump(batch="B0", vantage="api", place="cluster", what=INVENTORY, data=inventory.model_dump(mode="json")),
        Dump(
            batch="B0",
            vantage="api",
            place="cluster",
            what=VARIANT,
            data=variant.model_dump(mode="json", by_alias=True),
        ),
    )


def restore(spec: LabSpec, observations: Sequence[Observation]) -> Context:
    """A context from a run directory's data alone: what was seen since the last inventory.

    Raises:
        LookupError: The observations have no inventory or no variant: the run ended before the first batch.
    """
    found: dict[str, Any] = {}
    start = 0
    for number, one in enumerate(observations):
        if isinstance(one, Dump) and one.vantage == "api" and one.what in {INVENTORY, VARIANT}:
            found[one.what] = one.data
            start = number if one.what == INVENTORY else start
    missing = [what for what in (INVENTORY, VARIANT) if what not in found]
    if missing:
        msg = f"the run has no {' and no '.join(missing)}: it ended before anything was examined"
        raise LookupError(msg)
    return Context(
        spec,
        Variant.model_validate(found[VARIANT]),
        Inventory.model_validate(found[INVENTORY]),
        tuple(one for one in observations[start:] if one.batch in BATCHES),
    )


def seen_by(run: RunDir) -> Context:
    """What a run has seen, from its directory.

    Args:
        run: Of `cnilab test`, or a stored case.

    Raises:
        LookupError: As of `restore`.
        UsageError: The directory is damaged.
    """
    return restore(LabSpec.model_validate(run.info().spec), run.observations())
