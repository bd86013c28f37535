"""What labs know of a cluster, and their ways into it: the API, the nodes' own view, captures."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Unpack

from harness.cni import networks
from harness.cni.charts import PROGRAM, Charts
from harness.errors import UsageError
from harness.model.family import family_of_dial
from harness.model.labstate import LabDir
from harness.model.node import Node
from harness.model.records import Tap as TapRecord
from harness.model.spot import Spot
from harness.probes.sandboxes import Sandbox, Sandboxes, take
from harness.runner import Argv, Completed, HostRunner, Runner, RunOptions
from harness.steps.labs.facts import of_lab
from harness.steps.labs.place import TapWanted
from harness.steps.labs.taps import Listening, listening
from harness.steps.lifecycle.attach import Attached

ALIAS = "cnilab.dev/alias"
"""Label that gives a pod with a generated name a short one in expressions."""

PROBE = "peer"
"""Label of the pods that `each-pod` means."""

OF_CLUSTER = frozenset({"kubectl", PROGRAM})
"""Programs that an operator's step runs with the lab's kubeconfig."""

READ_ONLY = frozenset({"tcpdump"})
"""Programs besides these that an operator's step may run on this machine; they only read files of the run."""


FAST_START = {"GOGC": "off"}
"""For programs that live a moment: without garbage collection kubectl needs a third less CPU."""


class OperatorRunner:
    """What the operator's terminal can do: kubectl, helm, and reading captures.

    Args:
        ours: Run programs with the lab's kubeconfig, by their names: kubectl, helm.
        host: Runs programs on this machine.
    """

    def __init__(self, ours: Mapping[str, Runner], host: Runner) -> None:
        self._ours = ours
        self._host = host

    def _of(self, argv: Argv) -> tuple[Runner, Argv]:
        program = str(argv[0])
        if program in self._ours:
            return self._ours[program], argv[1:]
        if program in READ_ONLY:
            return self._host, argv
        msg = f"the operator has no program '{program}'"
        known = ", ".join((*self._ours, *sorted(READ_ONLY)))
        raise UsageError(msg, next_step=f"use one of {known}, or run the program on a node")

    def run(self, argv: Argv, **options: Unpack[RunOptions]) -> Completed:
        """See `Runner.run`."""
        runner, words = self._of(argv)
        options["env"] = {**FAST_START, **(options.get("env") or {})}
        return runner.run(words, **options)

    def start(
        self,
        argv: Argv,
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] = -3,
        stderr: int | IO[bytes] = -3,
        env: Mapping[str, str] | None = None,
    ) -> Any:
        """See `Runner.start`."""
        runner, words = self._of(argv)
        return runner.start(words, stdin=stdin, stdout=stdout, stderr=stderr, env={**FAST_START, **(env or {})})


@dataclass(frozen=True)
class Snapshot:
    """The cluster at one moment.

    Args:
        nodes: By name, plain values.
        pods: All pods, plain values.
        inventory: The nodes' own view of their pods.
    """

    nodes: dict[str, dict[str, Any]]
    pods: list[dict[str, Any]]
    inventory: Sandboxes


def node_facts(node: Mapping[str, Any]) -> dict[str, Any]:
    """What expressions may know of a node.

    Args:
        node: Of the API.
    """
    listed = node["status"].get("addresses") or ()
    four, six = _families(entry["address"] for entry in listed if entry["type"] == "InternalIP")
    conditions = {entry["type"]: entry for entry in node["status"].get("conditions", ())}
    cidrs = node["spec"].get("podCIDRs") or [node["spec"].get("podCIDR", "")]
    cidr, cidr6 = _families(cidrs)
    return {
        "name": node["metadata"]["name"],
        "address": four,
        "address6": six,
        "pod_cidr": cidr,
        "pod_cidr6": cidr6,
        "base": _address_of(cidr, 0),
        "base6": _address_of(cidr6, 0),
        "gateway": _address_of(cidr, 1),
        "gateway6": _address_of(cidr6, 1),
        "ready": conditions.get("Ready", {}).get("status") == "True",
        "conditions": conditions,
        "annotations": dict(node["metadata"].get("annotations") or {}),
        "labels": dict(node["metadata"].get("labels") or {}),
    }


def _families(addresses: Iterable[str]) -> tuple[str, str]:
    """The first IPv4 address or range and the first one of IPv6; empty where there is none."""
    listed = [one for one in addresses if one]
    four = next((one for one in listed if family_of_dial(one) == "ipv4"), "")
    return four, next((one for one in listed if family_of_dial(one) == "ipv6"), "")


def _address_of(cidr: str, number: int) -> str:
    return str(ipaddress.ip_network(cidr)[number]) if cidr else ""


def _owner(meta: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What made a pod: a DaemonSet, a ReplicaSet; None for a pod that somebody made by hand."""
    return next((owner for owner in meta.get("ownerReferences") or () if owner.get("controller")), None)


def pod_facts(pod: Mapping[str, Any], sandbox: Sandbox | None) -> dict[str, Any]:
    """What expressions may know of a pod: the API's view, and below `runtime` words the node's.

    Args:
        pod: Of the API.
        sandbox: The node's view of it; None when it has none yet.
    """
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    statuses = status.get("containerStatuses") or []
    four, six = _families(entry["ip"] for entry in status.get("podIPs") or [{"ip": status.get("podIP", "")}])
    facts: dict[str, Any] = {
        "name": meta["name"],
        "namespace": meta["namespace"],
        "uid": meta["uid"],
        "labels": dict(meta.get("labels") or {}),
        "node": spec.get("nodeName", ""),
        "owner": "/".join((owner["kind"], owner["name"])) if (owner := _owner(meta)) else "",
        "host_network": bool(spec.get("hostNetwork")),
        "ip": four,
        "ip6": six,
        "ips": [entry["ip"] for entry in status.get("podIPs") or ()],
        "phase": status.get("phase", ""),
        "ready": bool(statuses) and all(entry.get("ready") for entry in statuses),
        "restarts": {entry["name"]: entry.get("restartCount", 0) for entry in statuses},
        "probed": any("readinessProbe" in container for container in spec["containers"]),
        "sandbox": "", "netns": "", "netns_pinned": "", "inode": 0, "veth": "", "mac": "", "mtu": 0,
        "ids": {}, "pids": {},
    }  # fmt: skip
    if sandbox is not None:
        eth0 = next((link for link in sandbox.interfaces if link.name == "eth0"), None)
        facts |= {
            "sandbox": sandbox.id,
            "netns": sandbox.netns,
            "netns_pinned": sandbox.netns_pinned,
            "inode": sandbox.inode,
            "veth": sandbox.host_veth,
            "mtu": eth0.mtu if eth0 else 0,
            "mac": eth0.mac if eth0 else "",
            "ids": {one.name: one.id for one in sandbox.containers},
            "pids": {"pause": sandbox.pid, **{one.name: one.pid for one in sandbox.containers}},
        }
    return facts


class Cluster:
    """The cluster of an attached lab, for the engine.

    Args:
        attached: The lab.
        run: Captures go here.
    """

    def __init__(self, attached: Attached, run: Path) -> None:
        self._attached = attached
        self._run = run
        self._lock = threading.Lock()
        self._taken: Snapshot | None = None

    # -- facts ---------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """See `Surroundings.refresh`."""
        with self._lock:
            self._taken = None

    def _take(self) -> Snapshot:
        inventory = take(self._attached.lab)
        newest: dict[str, Sandbox] = {}
        for sandbox in sorted(inventory.sandboxes, key=lambda one: one.pid):
            newest[sandbox.uid] = sandbox
        pods = self._attached.kube.list("v1", "Pod")
        order = {node.name: index for index, node in enumerate(self._attached.lab.nodes)}
        known = [node_facts(node) for node in self._attached.kube.list("v1", "Node")]
        known.sort(key=lambda node: order.get(node["name"], len(order)))
        nodes = {node["name"]: {**node, "index": index} for index, node in enumerate(known)}
        facts = [pod_facts(pod, newest.get(pod["metadata"]["uid"])) for pod in pods]
        facts.sort(key=lambda pod: (pod["namespace"], pod["name"]))
        return Snapshot(nodes, facts, inventory)

    def _snapshot(self) -> Snapshot:
        with self._lock:
            if self._taken is None:
                self._taken = self._take()
            return self._taken

    def facts(self, namespace: str) -> dict[str, Any]:
        """See `Surroundings.facts`."""
        now = self._snapshot()
        return {
            **of_lab(self._attached),
            "nodes": now.nodes,
            "node_list": list(now.nodes.values()),
            "all_pods": now.pods,
            "pods": _by_name(now.pods, namespace),
        }

    @property
    def agents(self) -> tuple[str, ...]:
        """See `Surroundings.agents`."""
        return networks.network(self._attached.variant).agents

    # -- places --------------------------------------------------------------------------------------------------

    def spots(self, on: str, namespace: str, container: str = "") -> list[Spot]:
        """See `Surroundings.spots`."""
        kind, _, name = on.partition("/")
        if kind == "operator":
            helm = Charts(LabDir(self._attached.state, self._attached.spec.name)).terminal
            ours = {"kubectl": self._attached.kubectl, PROGRAM: helm}
            return [Spot("operator", "operator", OperatorRunner(ours, HostRunner()))]
        if kind in {"router", "far"}:
            return [_outside(self._attached.lab.router if kind == "router" else self._attached.lab.far, kind)]
        return _some(self._inside(kind, name, namespace, container), on)

    def _inside(self, kind: str, name: str, namespace: str, container: str) -> list[Spot]:
        """Places of the cluster; none when there is no such place."""
        now = self._snapshot()
        if kind in {"each-node", "node"}:
            return [_on_node(one, now) for one in self._attached.lab.nodes if name in ("", one.name)]
        if kind in {"each-agent", "agent"}:
            return [self._agent(pod, now) for pod in self._agents(now) if pod["ids"] and name in ("", pod["node"])]
        pods = _by_name(now.pods, namespace)
        if kind == "each-pod":
            chosen = [pod for pod in pods.values() if pod["labels"].get(PROBE) == "true" and pod["ids"]]
            return [self._in_pod(pod, "", now) for pod in chosen]
        pod = pods.get(name) or next((one for one in now.pods if f"{one['namespace']}/{one['name']}" == name), None)
        if kind not in {"pod", "netns"} or pod is None:
            return []
        return [self._in_netns(pod, now) if kind == "netns" else self._in_pod(pod, container, now)]

    def _agents(self, now: Snapshot) -> list[dict[str, Any]]:
        """Pods of the variant's DaemonSets, in the order of their nodes."""
        words = [entry.split("/") for entry in self._attached.variant.workloads]
        owners = {(namespace, f"DaemonSet/{name}") for namespace, kind, name in words if kind.lower() == "daemonset"}
        found = [pod for pod in now.pods if (pod["namespace"], pod["owner"]) in owners]
        return sorted(found, key=lambda pod: now.nodes[pod["node"]]["index"])

    def _agent(self, pod: dict[str, Any], now: Snapshot) -> Spot:
        """The network's agent, called by its node."""
        return replace(self._in_pod(pod, "", now), name=pod["node"], label=f"{pod['name']} on {pod['node']}")

    @staticmethod
    def _in_pod(pod: dict[str, Any], container: str, now: Snapshot) -> Spot:
        sandbox = now.inventory.find(pod["namespace"], pod["name"])
        label = f"pod {pod['namespace']}/{pod['name']}" + (f", container {container}" if container else "")
        facts = {"pod": pod, "node": now.nodes[pod["node"]]}
        return Spot(pod["name"], label, now.inventory.container_runner(sandbox, container), facts)

    @staticmethod
    def _in_netns(pod: dict[str, Any], now: Snapshot) -> Spot:
        sandbox = now.inventory.find(pod["namespace"], pod["name"])
        facts = {"pod": pod, "node": now.nodes[pod["node"]]}
        label = f"network namespace of pod {pod['namespace']}/{pod['name']}"
        return Spot(pod["name"], label, now.inventory.netns_runner(sandbox), facts)

    # -- captures ------------------------------------------------------------------------------------------------

    @contextmanager
    def taps(self, wanted: Sequence[TapWanted], namespace: str, stem: str) -> Iterator[dict[str, TapRecord]]:
        """See `Surroundings.taps`."""
        with listening(Listening(self._run, stem), wanted, lambda on: self._tapped(on, namespace)) as found:
            yield found

    def _tapped(self, on: str, namespace: str) -> Spot:
        """Where to listen: for a pod, the node's programs in its network."""
        return self.spots(on.replace("pod/", "netns/", 1) if on.startswith("pod/") else on, namespace)[0]


def _by_name(pods: list[dict[str, Any]], namespace: str) -> dict[str, Any]:
    """A namespace's pods by alias or name."""
    return {pod["labels"].get(ALIAS, pod["name"]): pod for pod in pods if pod["namespace"] == namespace}


def _some(spots: list[Spot], on: str) -> list[Spot]:
    if not spots:
        msg = f"no place '{on}'"
        raise UsageError(msg, next_step="see 'kubectl get pods -A -o wide' and 'cnilab status'")
    return spots


def _outside(node: Node | None, kind: str) -> Spot:
    if node is None:
        msg = f"this provider has no {kind}"
        raise UsageError(msg)
    return Spot(kind, kind, node.runner)


def _on_node(node: Node, now: Snapshot) -> Spot:
    return Spot(node.name, f"node {node.name}", node.runner, {"node": now.nodes[node.name]})
