"""The suite's pods in a cluster that is not ours: a pod that cannot be had costs its checks, not the run."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Final, Literal, NamedTuple

from conformance import manifests
from conformance.manifests import PodPlan, Ports
from harness import timeouts
from harness.cluster import ports as numbers
from harness.cluster.execute import PodRunner
from harness.cluster.kube import ApiError, Object
from harness.cluster.readiness import insist
from harness.cluster.stream import Place
from harness.errors import BringUpError
from harness.model.records import Exchange
from harness.model.spec import LabSpec
from harness.probes import plan as probes
from harness.probes.agent import run_plans
from harness.providers.existing import tenancy
from harness.providers.existing.refusals import Trouble, trouble
from harness.steps.existing.send import Sender
from harness.steps.existing.stay import Stay
from harness.steps.suite.deploy import running, waiting_for

TRIES: Final = 4
"""Ports that are tried on a node."""

SERVES: Final = 10.0
"""Seconds until a program that was sent answers, before scaling."""

_QUICK: Final = 1.0
_AT_ONCE: Final = 8

Kind = Literal["published", "own"]


class NodeLost(BringUpError):  # noqa: N818 - what happened to a node; the run goes on without it
    """A node on which the suite cannot be.

    Args:
        why: What is wrong with its pod.
    """

    def __init__(self, why: Trouble) -> None:
        super().__init__(why.what, cause=why.why, where=f"pod {why.pod}", next_step=why.next_step)
        self.node = why.node
        self.reason = why.reason


class _Seen(NamedTuple):
    items: list[Object]
    troubles: list[Trouble]


class Crew:
    """The pods of one attempt, with the ports that they take.

    Args:
        here: The run's stay in the cluster; its gates close when ports or pods are not available.
        spec: The nodes.
        enter: The way into pods.
        sender: Brings the program, where images do not.
    """

    def __init__(self, here: Stay, spec: LabSpec, enter: PodRunner, sender: Sender) -> None:
        self.here = here
        self.spec = spec
        self.enter = enter
        self.sender = sender
        self._numbers = self._free()
        self._tries: Counter[tuple[str, Kind]] = Counter()
        self._lock = threading.Lock()
        published, own = next(self._numbers), next(self._numbers)
        self.ports = dict.fromkeys(spec.node_names, Ports(published, own, bound=0))

    def _free(self) -> Iterator[int]:
        """Ports that no object of the cluster has, as far as this user may look."""
        pods: list[Object] = []
        services: list[Object] = []
        for node in self.spec.node_names:  # not all of a large cluster's
            with suppress(ApiError):
                pods += self.here.kube.list("v1", "Pod", fields=f"spec.nodeName={node}")
        with suppress(ApiError):
            services = self.here.kube.list("v1", "Service")
        return numbers.free(numbers.taken(pods, services), self.here.mark.run)

    @property
    def plans(self) -> tuple[PodPlan, ...]:
        """The pods that there should be."""
        closed = self.here.closed
        planned = manifests.pod_plans(self.spec, self.ports)
        found = [one for one in planned if not one.host_network or "hosts" not in closed]
        return tuple(replace(one, host_port="") if "hport" in closed else one for one in found)

    def objects(self) -> list[Object]:
        """What the suite makes here. Namespace and account are not the suite's."""
        closed = self.here.closed
        items = tenancy.without(
            [
                *manifests.services(self.spec),
                *manifests.endpoint_slices(self.spec),
                *manifests.pods(self.spec, self.ports),
            ],
            host_network="hosts" not in closed,
            host_ports="hport" not in closed,
            slices="slices" not in closed,
        )
        return [self.here.adapt(item) for item in items]

    def make(self, items: Sequence[Object]) -> None:
        """Make pods.

        Raises:
            NodeLost: One was refused, by a quota as a rule.
        """

        def post(item: Object) -> Trouble | None:
            try:
                self.here.create([item])
            except ApiError as error:
                if not 400 <= error.status < 500:
                    raise
                name, node = item["metadata"]["name"], item["spec"]["nodeName"]
                return Trouble(name, node, "lost", f"pod {name} was refused by the API server", error.cause)
            return None

        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="pods") as pool:
            refused = [one for one in pool.map(post, items) if one]
        if refused:
            self._mend(refused)

    def serving(self) -> dict[str, Object]:
        """Pods by name, once all that can be had serve.

        Raises:
            NodeLost: There is a node that cannot have its pods.
            BringUpError: The pods are not ready in time, or no node can have the image.
        """
        while True:
            seen = self._look()
            if not seen.troubles:
                self.sender.fill(seen.items)
                seen = _Seen(seen.items, self._deaf(seen.items))
            if not seen.troubles:
                return {item["metadata"]["name"]: item for item in seen.items}
            self._mend(seen.troubles)

    def _look(self) -> _Seen:
        here, plans = self.here, self.plans

        def done(items: list[Object]) -> _Seen | None:
            alive = [item for item in items if not item["metadata"].get("deletionTimestamp")]
            found = [one for item in alive if (one := trouble(item))]
            images = [one for one in found if one.kind == "image"]
            if images and {one.node for one in images} >= set(self.spec.node_names):
                raise images[0].error
            # Of an image that one node cannot have, others may still be told the same.
            others = [one for one in found if one.kind != "image"]
            elsewhere = any(running(alive, [plan]) for plan in plans)
            if others or (images and elsewhere):
                return _Seen(alive, others or images)
            insist(waiting_for(alive, plans))
            return _Seen(alive, [])

        return here.kube.wait(
            f"{len(plans)} pods in {here.namespace} to be ready",
            "v1",
            "Pod",
            done,
            namespace=here.namespace,
            labels=f"{here.mark.selector},app=probe",
            deadline=timeouts.POD_RUNNING,
        )

    def site(self, plan: PodPlan, item: Object) -> probes.Prober:
        """A pod as a place for probes."""
        way = self.enter.into(Place(self.here.namespace, plan.name, plan.containers[0]))
        return probes.Prober(plan.name, plan.node, item["status"]["podIP"], way, self.here.binary)

    def _deaf(self, items: Sequence[Object]) -> list[Trouble]:
        """Host-network pods whose port somebody else answers on, or nobody: no object tells what listens on a node."""
        by_name = {item["metadata"]["name"]: item for item in items}
        plans = {one.name: one for one in self.plans if self.here.streams or one.host_network}
        open_ = {name: self.site(one, by_name[name]) for name, one in plans.items()}
        answers: dict[str, list[Exchange]] = {}
        for _ in timeouts.ticks(SERVES, 0.2):
            work = {site: _self(site, plans[name].port) for name, site in open_.items()}
            seen = [one for one in run_plans(work, batch="B0", deadline=_QUICK, retries=0) if isinstance(one, Exchange)]
            answers = {name: [one for one in seen if one.src == name] for name in open_}
            open_ = {name: open_[name] for name, got in answers.items() if any(one.token != name for one in got)}
            # A program that finds no port ends: nothing can be run in its container, until it is started again.
            lost = {name for name in open_ if any(one.outcome == "error" for one in answers[name])}
            if lost and (ended := self._ended(lost)):
                return ended
            if not open_ or not (self.here.streams or lost):
                break
        return [
            Trouble(
                name, plans[name].node, "port", f"port {plans[name].port} of node {plans[name].node} is in use", why
            )
            for name in open_
            if plans[name].host_network and (why := _taken(answers[name], name))
        ]

    def _ended(self, names: set[str]) -> list[Trouble]:
        """What is wrong with pods that ran a moment ago."""
        here = self.here
        items = here.kube.list("v1", "Pod", here.namespace, labels=f"{here.mark.selector},app=probe")
        return [one for item in items if item["metadata"]["name"] in names and (one := trouble(item))]

    def _mend(self, troubles: Sequence[Trouble]) -> None:
        """Choose other ports, do without what cannot be had, or give a node up."""
        plans = {one.name: one for one in self.plans}
        again: set[tuple[str, Kind]] = set()
        for one in troubles:
            plan = plans.get(one.pod)
            if plan is None:
                continue
            if one.kind == "port" and (plan.host_network or plan.host_port):
                again.add((plan.node, "own" if plan.host_network else "published"))
            elif plan.host_network:
                self._close("hosts", one.reason)
            else:
                raise NodeLost(one)
        for node, kind in sorted(again):
            self._tries[node, kind] += 1
            if self._tries[node, kind] >= TRIES:
                said = next(one.reason for one in troubles if one.kind == "port" and one.node == node)
                self._close("hosts" if kind == "own" else "hport", f"{TRIES} ports of node {node} were in use; {said}")
            else:
                self.ports[node] = replace(self.ports[node], **{kind: next(self._numbers)})
        wanted = {one.name: one for one in self.plans}
        # What has another port now, and what failed, is made anew; what is not wanted any more goes.
        stale = {name for name, plan in plans.items() if name not in wanted or _taking(wanted[name]) != _taking(plan)}
        stale |= {one.pod for one in troubles if one.pod in plans}
        self._remove(frozenset(stale))
        pods = [item for item in self.objects() if item["kind"] == "Pod"]
        self.make([item for item in pods if item["metadata"]["name"] in stale & set(wanted)])

    def _remove(self, names: frozenset[str]) -> None:
        """Remove pods, and wait until they are gone; with no right but to list and to delete."""
        here = self.here
        here.kube.delete([_named(here, name) for name in sorted(names)], wait=False)
        here.kube.wait(
            f"{len(names)} pods in {here.namespace} to be gone",
            "v1",
            "Pod",
            lambda items: not names & {item["metadata"]["name"] for item in items},
            namespace=here.namespace,
            labels=here.mark.selector,
        )

    def _close(self, gate: str, reason: str) -> None:
        self.here.closed.setdefault(gate, reason)
        if gate == "hosts":
            self.here.closed.setdefault("policies", f"its cases need pods in their node's network: {reason}")


def _self(site: probes.Prober, port: int) -> list[probes.Probe]:
    return [probes.ExchangeProbe(site.target(port), proto=proto, purpose="self") for proto in ("tcp", "udp")]


def _taken(answers: Sequence[Exchange], name: str) -> str:
    """What shows that a port is somebody else's; silence shows nothing, a firewall may have a part in it."""
    for one in answers:
        if one.outcome == "ok" and one.token != name:
            return f"'{one.token[:40]}' answers over {one.proto}"
        if one.outcome == "refused":
            return f"nothing answers over {one.proto}"
    return ""


def _taking(plan: PodPlan) -> tuple[int, int]:
    """What a pod takes of its node."""
    return plan.port if plan.host_network else 0, plan.ports.published if plan.host_port else 0


def _named(here: Stay, name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": here.namespace}}


def left_out(reasons: Mapping[str, str]) -> str:
    """Nodes that were left out, for a report."""
    return "; ".join(f"{node}: {why}" for node, why in sorted(reasons.items()))
