"""A run's stay in somebody else's cluster: its namespaces, what admission lets in, and that nothing remains."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from conformance import manifests
from harness import timeouts
from harness.cluster.kube import ApiError, Kube, Object
from harness.errors import PreflightError, TearDownError
from harness.model.journal import Journal
from harness.model.labstate import start_time
from harness.probes.plan import CONTAINER_BINARY
from harness.providers.existing import probe, shells, tenancy
from harness.providers.existing.tenancy import MANAGED, RUN, Mark
from harness.steps.existing.preflight import RESPONDER, TOOLBOX, Survey

KINDS: Final = (("v1", "Pod"), ("v1", "Service"), ("discovery.k8s.io/v1", "EndpointSlice"))
"""What a run makes in a namespace that is not its own."""

GONE: Final = 50.0
"""Seconds until everything is gone, before scaling: less than an interrupted command has."""

EMPTY: Final = 15.0
"""Seconds until a run's pods are gone, before scaling; its namespaces are removed in any case."""

PROBES: Final = "-nodes"
"""Ends the name of the namespace with the probes."""

_AT_ONCE: Final = 8
_FORBIDDEN = 403
_MISSING = 404


@dataclass
class Stay:
    """A run, in the cluster.

    Args:
        found: What the preflight found.
        mark: Of the run.
        journal: Gets a step for what is made and removed.
        closed: Gates that are closed here, and why; grows while things are tried.
        left_out: Nodes of the sample on which the suite cannot be, and why; grows, too.
        image: Where nodes get the responder, or an image with a shell.
        streams: It is one with a shell: the responder is sent into its pods.
        probes_only: There are probes on nodes, and no pods of the suite.
    """

    found: Survey
    mark: Mark
    journal: Journal
    closed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    image: str = RESPONDER
    streams: bool = False
    probes_only: bool = False

    @property
    def kube(self) -> Kube:
        """The cluster's API."""
        return self.found.kube

    @property
    def namespace(self) -> str:
        """Of the suite's pods; where there are none, of the probes."""
        if self.probes_only:
            return self.probes
        return self.found.wish.namespace or f"cnilab-{self.mark.run}"

    @property
    def probes(self) -> str:
        """Namespace of the probes on nodes."""
        return f"cnilab-{self.mark.run}{PROBES}"

    @property
    def images(self) -> dict[str, str]:
        """Our image to where this cluster gets it."""
        return {RESPONDER: self.image}

    def adapt(self, item: Object, namespace: str = "") -> Object:
        """An object of ours as one for this cluster.

        Args:
            item: As for a lab of ours.
            namespace: Where it goes, when that is not the suite's.
        """
        made = self.mark.put(item, namespace or self.namespace, self.images)
        return shells.streamed(made, self.image) if self.streams and made["kind"] == "Pod" else made

    @property
    def kit(self) -> bool:
        """The programs of probes on nodes are sent."""
        return sends_kit(self.found)

    def probe_pod(self) -> Object:
        """A probe on a node, without a name."""
        image = self.found.wish.node_image or TOOLBOX
        spec = probe.kit_spec(RESPONDER) if self.kit else probe.pod_spec(image)
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": self.probes}, "spec": spec}
        return self.adapt(pod, self.probes)

    @property
    def binary(self) -> str:
        """Where the responder is in pods of the run."""
        return shells.BINARY if self.streams else CONTAINER_BINARY

    def create(self, items: Sequence[Object]) -> None:
        """Make objects, several at a time.

        Raises:
            ApiError: One of them was refused.
        """
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="create") as pool:
            list(pool.map(self._post, items))

    def _post(self, item: Object, *, dry: bool = False) -> Any:
        metadata = item["metadata"]
        path = self.kube.path(item["apiVersion"], item["kind"], metadata.get("namespace", ""))
        return self.kube.raw("POST", path, item, query={"fieldManager": "cnilab", **({"dryRun": "All"} if dry else {})})

    def settle(self) -> None:
        """Make namespaces, and find out what admission lets in.

        Raises:
            ApiError: The namespace was refused.
            PreflightError: Not even a plain pod is let in.
        """
        for gate, why in (
            ("hosts", self.found.no_hosts),
            ("node", self.found.no_probes),
            ("policies", self.found.no_policies),
            ("slices", "" if self.found.rights.has("slices") else self.found.rights.why("slices")),
        ):
            if why:
                self.closed[gate] = why
        with self.journal.step("existing.namespace", f"namespace {self.namespace}"):
            if self.found.own_namespace:
                self._post(self.mark.namespace(self.namespace, privileged="hosts" not in self.closed))
            self._try_pods()
            if "node" not in self.closed:
                self._try_probe()

    def settle_probes(self) -> None:
        """Make the namespace of the probes, and find out whether admission lets them in.

        Raises:
            PreflightError: It does not.
        """
        with self.journal.step("existing.namespace", f"namespace {self.probes}"):
            self._try_probe()
        if why := self.closed.get("node"):
            msg = "the cluster accepts no privileged pods on its nodes"
            step = "without them no kernel can be read; they need Pod Security 'privileged'"
            raise PreflightError(msg, cause=why, where=self.found.access.server, next_step=step)

    def _try_pods(self) -> None:
        """Send pods that are not kept (dryRun=All): admission says what it would do with them."""
        refused = self._refused(_trial())
        if refused:
            msg = f"namespace {self.namespace} accepts no pods of the suite"
            raise PreflightError(
                msg,
                cause=refused,
                where=self.found.access.server,
                next_step="the pods need Pod Security 'baseline'; ICMP needs NET_RAW",
            )
        trials = (("hosts", _trial(host_network=True)), ("hport", _trial(host_port=True)))
        for gate, trial in trials:
            if gate not in self.closed and (refused := self._refused(trial)):
                self.closed[gate] = f"admission refused it: {refused}"
        if "hosts" in self.closed:
            self.closed.setdefault("policies", f"its cases need pods in their node's network: {self.closed['hosts']}")

    def admits(self, namespace: str) -> str:
        """Why a namespace takes no plain pod, once it has its account; empty when it does."""
        return self._refused(_trial(), namespace)

    def _refused(self, pod: Object, namespace: str = "") -> str:
        """Why admission refuses a pod; empty when it does not."""
        item = self.mark.put(pod, namespace or self.namespace, self.images)
        for _ in timeouts.ticks(timeouts.COMMAND, 0.1, 1.0):
            try:
                self._post(item, dry=True)
            except ApiError as error:
                # A namespace gets its account a moment after it is made.
                if error.status == _FORBIDDEN and "service account" in error.cause:
                    continue
                if 400 <= error.status < 500:
                    return error.cause
                raise
            return ""
        return "the namespace has no service account"

    def _try_probe(self) -> None:
        """A namespace for probes, and one that is not kept."""
        pod = self.probe_pod()
        pod["metadata"]["name"] = "trial"
        try:
            self._post(self.mark.namespace(self.probes, privileged=True))
            refused = self._refused(pod, self.probes)
        except ApiError as error:
            if not 400 <= error.status < 500:
                raise
            refused = error.cause
        if refused:
            self.closed["node"] = f"admission refused the probe: {refused}"

    def leave(self) -> list[str]:
        """Remove everything that this run made; what is left, in words.

        Returns:
            Empty is good.
        """
        with self.journal.step("existing.clear", "remove everything that the run created") as detail:
            left = remove(self.kube, self.mark.selector, self.found.wish.namespace)
            detail["left"] = left
        return left


@contextlib.contextmanager
def stay(found: Survey, journal: Journal, *, probes_only: bool = False) -> Iterator[Stay]:
    """Be in the cluster while the body runs, and leave nothing, whatever happens.

    Args:
        found: What the preflight found.
        journal: Gets steps.
        probes_only: There shall be nothing but probes on nodes.

    Raises:
        PreflightError: The cluster does not let in what there shall be.
        TearDownError: Something could not be removed.
    """
    image = found.wish.image or RESPONDER
    mark = tenancy.mark(machine(), os.getpid(), start_time(os.getpid()), secrets.token_hex(3))
    streams = not shells.is_responder(image)
    made = Stay(found, mark, journal, image=image, streams=streams, probes_only=probes_only)
    left: list[str] = []
    try:
        if probes_only:
            made.settle_probes()
        else:
            made.settle()
        yield made
    finally:
        left = made.leave()
    if left:
        raise left_behind(found, left)


def sends_kit(found: Survey) -> bool:
    """Whether the programs of probes on nodes are sent: no image with them was named, or is on all nodes.

    Args:
        found: What the preflight found.
    """
    wish, nodes = found.wish, found.chosen
    there = not wish.image and bool(nodes) and all(TOOLBOX in one.images for one in nodes)
    return not wish.node_image and not there


def left_behind(found: Survey, left: Sequence[str]) -> TearDownError:
    """The error for things that stay."""
    msg = "objects of the run are left in the cluster"
    again = f"cnilab down --kubeconfig {found.wish.kubeconfig}"
    again += f" --context {found.wish.context}" if found.wish.context else ""
    again += f" --namespace {found.wish.namespace}" if found.wish.namespace else ""
    return TearDownError(msg, cause="\n".join(left), where=found.access.server, next_step=again)


def _trial(*, host_network: bool = False, host_port: bool = False) -> Object:
    """A pod as the suite has them."""
    plan = manifests.PodPlan("trial", "", host_network=host_network, host_port="TCP" if host_port else "")
    return manifests.pod(plan)


def machine() -> str:
    """This machine, without naming it: containers of one image have names of their own, and often no id."""
    try:
        text = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        text = ""
    return hashlib.sha256(f"cnilab {text} {socket.gethostname()}".encode()).hexdigest()[:12]


def leftovers(kube: Kube, namespace: str, *, everybody: bool = False) -> list[str]:
    """Ids of runs that are no more, and of which something is there.

    Args:
        kube: The cluster.
        namespace: A namespace that was given; empty for namespaces of runs.
        everybody: Runs that may still be alive, too.
    """
    mark = ",".join(f"{key}={value}" for key, value in MANAGED.items()) + f",{RUN}"
    items = [item for kind in KINDS for item in kube.list(*kind, namespace, labels=mark)] if namespace else []
    items = items or ([] if namespace else kube.list("v1", "Namespace", labels=mark))
    owners = filter(None, map(tenancy.owner_of, items))
    alive = {(one.pid, one.started): start_time(one.pid) == one.started != 0 for one in owners}
    now = datetime.now(UTC)
    return sorted(
        {
            item["metadata"]["labels"][RUN]
            for item in items
            if everybody or tenancy.left_over(item, machine(), alive, now)
        }
    )


def sweep(kube: Kube, namespace: str, runs: Iterable[str]) -> list[str]:
    """Remove what runs left; what is left of it, in words."""
    return [left for run in runs for left in remove(kube, f"{RUN}={run}", namespace)]


def remove(kube: Kube, selector: str, namespace: str) -> list[str]:
    """Remove everything with a run's label, and wait until it is gone.

    Args:
        kube: The cluster.
        selector: The run's label.
        namespace: A namespace that was given; empty: the run's own namespaces, with all that is in them.

    Returns:
        What is still there, in words.
    """

    def there() -> list[Object]:
        if not namespace:
            return kube.list("v1", "Namespace", labels=selector)
        return [item for kind in KINDS for item in kube.list(*kind, namespace, labels=selector)]

    left = [f"all objects with the label {selector}: the API server did not answer in time"]
    emptied = bool(namespace)
    for _ in timeouts.ticks(GONE, 0.25, 1.0):
        try:
            if not emptied:
                _empty(kube, [item["metadata"]["name"] for item in there()])
                emptied = True
            # At first all; then what a controller made meanwhile, or an object that came after the list.
            _delete(kube, [item for item in there() if not item["metadata"].get("deletionTimestamp")])
            left = [f"{item['kind']} {item['metadata']['name']}" for item in there()]
        except ApiError as error:
            left = [f"all objects with the label {selector}: {error.what}: {error.cause}"]
            if error.patience < math.inf:
                break  # an API server that is away for a moment is asked again, one that refuses is not
        if not left:
            break
    return left


def _empty(kube: Kube, namespaces: Sequence[str]) -> None:
    """Remove pods first, and wait for them: a namespace that still has some is looked at again only seconds later."""
    for name in namespaces:
        agents = kube.list("apps/v1", "DaemonSet", name) if name.endswith(PROBES) else []
        _delete(kube, [*agents, *kube.list("v1", "Pod", name)])  # the agents' own pods go with them
    for _ in timeouts.ticks(EMPTY, 0.25, 1.0):
        if not any(kube.list("v1", "Pod", name) for name in namespaces):
            return


def _delete(kube: Kube, items: Sequence[Object]) -> None:
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}

    def drop(item: Object) -> None:
        try:
            kube.raw("DELETE", kube.path_of(item), body)
        except ApiError as error:
            if error.status != _MISSING:
                raise

    # What belongs to something else goes with it: the EndpointSlices of a Service carry its labels.
    own = [item for item in items if not item["metadata"].get("ownerReferences")]
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="delete") as pool:
        list(pool.map(drop, own))
