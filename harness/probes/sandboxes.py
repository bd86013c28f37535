"""What runs where: the sandboxes and containers of all nodes, as the nodes themselves know them.

One program run per node (`responder sandboxes`) reads containerd's state directory and looks into each network
namespace. Nothing comes from the Kubernetes API, so the two can be compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pydantic import Field, TypeAdapter

from harness.errors import BringUpError
from harness.model.base import Record
from harness.model.family import Family, family_of
from harness.model.node import Lab, Node
from harness.model.records import Dump
from harness.model.topology import Interface
from harness.probes.plan import CONTAINER_BINARY, NODE_BINARY, Prober
from harness.runner import Runner


class Container(Record):
    """A running container."""

    id: str
    name: str
    pid: int = Field(description="As the node sees it")
    image: str = ""


class Sandbox(Record):
    """A pod as the runtime knows it."""

    id: str
    pod: str
    namespace: str
    uid: str
    node: str = ""
    pid: int = Field(description="Of the pause process, as the node sees it")
    netns: str = Field(description="Path that the node can open: /proc/PID/ns/net")
    netns_pinned: str = Field(default="", description="Bind mount that the runtime made: /var/run/netns/cni-…")
    inode: int = Field(description="Of the network namespace")
    host_network: bool = False
    ip: str = Field(default="", description="Its address in the primary family; of the node for a host-network pod")
    ips: tuple[str, ...] = Field(default=(), description="Global addresses of eth0, those of the primary family first")
    host_veth: str = Field(default="", description="The node's end of eth0")
    interfaces: tuple[Interface, ...] = ()
    containers: tuple[Container, ...] = ()

    @property
    def key(self) -> str:
        """`namespace/pod`."""
        return f"{self.namespace}/{self.pod}"

    def address(self, family: Family) -> str:
        """Its first address of a family; empty when it has none."""
        return next((one for one in self.ips or (self.ip,) if one and family_of(one) == family), "")

    def container(self, name: str = "") -> Container | None:
        """A container by name; the first one without a name."""
        return next((one for one in self.containers if name in ("", one.name)), None)


@dataclass(frozen=True)
class Sandboxes:
    """All sandboxes of a lab, and the ways into them.

    Args:
        nodes: The cluster's nodes.
        sandboxes: Sorted by node, namespace and pod.
    """

    nodes: tuple[Node, ...]
    sandboxes: tuple[Sandbox, ...]

    def node(self, name: str) -> Node:
        """A node by name; raises `BringUpError` when there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        msg = f"no node named {name}"
        raise BringUpError(msg, cause=f"nodes: {', '.join(node.name for node in self.nodes)}")

    def select(self, namespace: str = "", node: str = "", *, host_network: bool | None = None) -> list[Sandbox]:
        """Sandboxes by namespace, node and kind; empty words and None match all."""
        return [
            one
            for one in self.sandboxes
            if namespace in ("", one.namespace) and node in ("", one.node) and host_network in (None, one.host_network)
        ]

    def find(self, namespace: str, pod: str) -> Sandbox:
        """A pod's sandbox; raises `BringUpError` when no node has it.

        Of several with the same name (a pod that was made again), the newest process wins.
        """
        found = [one for one in self.sandboxes if (one.namespace, one.pod) == (namespace, pod)]
        if not found:
            msg = f"no sandbox of pod {namespace}/{pod} on any node"
            raise BringUpError(msg, next_step=f"kubectl -n {namespace} get pod {pod} -o wide")
        return max(found, key=lambda one: one.pid)

    def netns_runner(self, sandbox: Sandbox) -> Runner:
        """Runs the node's programs in the pod's network namespace."""
        return self.node(sandbox.node).into_netns(sandbox.netns)

    def container_runner(self, sandbox: Sandbox, container: str = "") -> Runner:
        """Runs a container's programs in all of its namespaces."""
        found = sandbox.container(container)
        if found is None:
            msg = f"no running container {container or '(any)'} in pod {sandbox.key}"
            raise BringUpError(msg, next_step=f"kubectl -n {sandbox.namespace} describe pod {sandbox.pod}")
        return self.node(sandbox.node).into_container(found.pid)

    def site(self, sandbox: Sandbox, *, name: str = "", container: str = "", toolbox: bool = True) -> Prober:
        """A pod as a place for probes.

        Args:
            sandbox: The pod.
            name: For the observations; the pod's name by default.
            container: Which container; the first by default.
            toolbox: The container has /responder. False runs the node's agent in the pod's network namespace; the
                pod's own /etc/resolv.conf then does not count.
        """
        if toolbox:
            runner, binary = self.container_runner(sandbox, container), CONTAINER_BINARY
        else:
            runner, binary = self.netns_runner(sandbox), NODE_BINARY
        return Prober(name or sandbox.pod, sandbox.node, sandbox.ip, runner, binary, sandbox.ips)

    def sites(self, namespace: str) -> dict[str, Prober]:
        """All pods of a namespace as places for probes, by pod name."""
        return {one.pod: self.site(one) for one in self.select(namespace)}

    def dumps(self, batch: str) -> Iterator[Dump]:
        """The inventory as records, one per node, for the run directory."""
        for node in self.nodes:
            data = [one.model_dump(mode="json") for one in self.sandboxes if one.node == node.name]
            yield Dump(batch=batch, vantage="node", place=node.name, node=node.name, what="sandboxes", data=data)


def node_site(node: Node) -> Prober:
    """A node, the router or the far host as a place for probes."""
    return Prober(node.name, node.name, str(node.address), node.runner, NODE_BINARY)


def take(lab: Lab) -> Sandboxes:
    """List the sandboxes of all nodes, one program run per node, all at once."""
    return of_nodes(lab.nodes)


def of_nodes(nodes: Iterable[Node]) -> Sandboxes:
    """As `take`, for given nodes."""
    asked = tuple(nodes)
    with ThreadPoolExecutor(max_workers=max(1, min(32, len(asked)))) as pool:
        found = list(pool.map(_sandboxes, asked))
    ordered = sorted((one for part in found for one in part), key=lambda one: (one.node, one.namespace, one.pod))
    return Sandboxes(asked, tuple(ordered))


_SANDBOXES: TypeAdapter[list[Sandbox]] = TypeAdapter(list[Sandbox])


def _sandboxes(node: Node) -> list[Sandbox]:
    done = node.runner.run([NODE_BINARY, "sandboxes"])
    listed = _SANDBOXES.validate_python(json.loads(done.stdout))
    return [one.model_copy(update={"node": node.name, **_addresses(one, node)}) for one in listed]


def _addresses(sandbox: Sandbox, node: Node) -> dict[str, object]:
    """A node's address tells which family is the primary one."""
    if sandbox.host_network:
        return {"ip": str(node.address), "ips": (str(node.address),)}
    primary = family_of(node.address)
    ips = tuple(sorted(sandbox.ips, key=lambda one: family_of(one) != primary))
    return {"ip": ips[0] if ips else sandbox.ip, "ips": ips}
