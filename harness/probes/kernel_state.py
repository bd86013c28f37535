"""Kernel state of nodes and pods: what the tools of iproute2 and netfilter print, as records.

One program run per node (`responder batch`) runs all commands of the node and of the pods on it, each in its network
namespace, so that a whole lab is read in the time of its busiest node.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.errors import CnilabError
from harness.model.node import Lab, Node
from harness.model.records import Dump
from harness.probes import facts
from harness.probes.facts import NODE_FACTS, NODE_FACTS6, OUTSIDE_FACTS, POD_FACTS, POD_FACTS6, Fact
from harness.probes.plan import NODE_BINARY
from harness.probes.sandboxes import Sandbox, Sandboxes

__all__ = ["NODE_FACTS", "OUTSIDE_FACTS", "POD_FACTS", "dump"]

Vantage = Literal["pod", "node", "router", "far"]

DEADLINE = 20.0
"""Seconds for all commands of a node together."""


@dataclass(frozen=True)
class _Subject:
    """A place to be read, and what of it."""

    vantage: Vantage
    place: str
    node: Node
    what: tuple[str, ...]
    netns: str = ""
    namespace: str = ""
    words: Mapping[str, str] = field(default_factory=dict)

    def command(self, number: int, fact: Fact) -> dict[str, Any]:
        """One command of the plan of `responder batch`."""
        command: dict[str, Any] = {"id": f"{number}/{fact.what}", "netns": self.netns}
        if fact.argv:
            command["argv"] = list(fact.argv)
        else:
            command["files"] = [pattern.format(**self.words) for pattern in fact.files]
        return command


def dump(
    lab: Lab,
    inventory: Sandboxes,
    *,
    batch: str = "B0",
    namespace: str = "",
    pods: bool = True,
    only: Sequence[str] = (),
    ipv6: bool = False,
) -> list[Dump]:
    """Read the state of all nodes, of the pods on them, and of the router and the far host.

    `what` of the records and the form of their `data`:

    - `addr`: list of `ip -d -j address` (links with addresses, MTU, kind, VXLAN details)
    - `route`: list of `ip -d -j route show table all`, without the table `local` that the kernel fills
      (rows of both families: those of IPv6 alone have `pref`)
    - `policy-rules`: list of `ip -4 -j rule`; `policy-rules6`: of `ip -6 -j rule`
    - `neigh`: list of `ip -j neigh`; `fdb`: of `bridge -j fdb`; `bridge-link`: of `bridge -d -j link`
    - `rules-iptables`: text of `iptables-save -c`; `rules-iptables6`: of `ip6tables-save -c`
    - `rules-legacy`, `rules-legacy6`: of `iptables-legacy-save -c`, which sees other rules; `legacy-tables`: path to
      content of the kernel's names of tables that have such rules
    - `hook-devices`: list of the chains of nft at hooks of devices: family, table, chain, devices
    - `programs`: the list of `bpftool -j net show`; `queues`: of `tc -j qdisc show`
    - `processes`: list of the processes of `ps`: pid, stat, name
    - `rules-nft`: the list of `nft -j list ruleset`
    - `sysctl`: key to value, as sysctl(8) writes keys: `net.ipv4.conf.flannel/1.rp_filter`
    - `counters`: name to number: `Udp.InCsumErrors`, `TcpExt.ListenDrops`, `conntrack.insert_failed` …
    - `leases`, `conf`: path to content: the host-local store; /etc/cni/net.d and flannel's subnet.env
    - `resolv-conf`: text, of a pod's first container; `netns`: inode number

    A command that fails gives a record whose data is `{"error": …}`.

    Args:
        lab: The lab.
        inventory: Of the same moment.
        batch: As of the observations.
        namespace: Only pods of this Kubernetes namespace; empty for all.
        pods: Ask the pods too.
        only: Subjects (`what`) to ask for; empty for all.
        ipv6: Pods have IPv6: nodes are asked for what is of IPv6 alone, too.
    """
    own = (*NODE_FACTS, *NODE_FACTS6) if ipv6 else NODE_FACTS
    of_pods = (*POD_FACTS, *POD_FACTS6) if ipv6 else POD_FACTS
    subjects: dict[str, list[_Subject]] = {}
    for node in lab.nodes:
        sandboxes = inventory.select(namespace, node.name) if pods else []
        subjects[node.name] = [_node(node, own), *(_pod(node, one, of_pods) for one in sandboxes)]
    outside: list[tuple[Vantage, Node | None]] = [("router", lab.router), ("far", lab.far)]
    for vantage, host in outside:
        if host is not None:
            subjects[host.name] = [_Subject(vantage, host.name, host, OUTSIDE_FACTS)]
    with ThreadPoolExecutor(max_workers=max(1, min(32, len(subjects))), thread_name_prefix="dump") as pool:
        parts = list(pool.map(lambda group: _read(group, batch, only), subjects.values()))
    return [one for part in parts for one in part]


def _node(node: Node, what: tuple[str, ...]) -> _Subject:
    return _Subject("node", node.name, node, what, words={"proc": "/proc/1"})


def _pod(node: Node, sandbox: Sandbox, facts_: tuple[str, ...]) -> _Subject:
    """A host-network pod has the node's kernel state; only its own files are asked for."""
    container = sandbox.container()
    words = {"proc": f"/proc/{container.pid if container else sandbox.pid}"}
    what = ("resolv-conf",) if sandbox.host_network else facts_
    netns = "" if sandbox.host_network else sandbox.netns
    return _Subject("pod", sandbox.pod, node, what, netns, sandbox.namespace, words)


def _read(subjects: Sequence[_Subject], batch: str, only: Sequence[str]) -> list[Dump]:
    """One program run on one node."""
    asked = [
        (number, facts.FACTS[what])
        for number, subject in enumerate(subjects)
        for what in subject.what
        if not only or what in only
    ]
    if not asked:
        return []
    commands = [subjects[number].command(number, fact) for number, fact in asked]
    plan = {"timeout_ms": round(DEADLINE * 1000), "commands": commands}
    problem = ""
    lines: dict[str, Mapping[str, Any]] = {}
    try:
        done = subjects[0].node.runner.run([NODE_BINARY, "batch"], input=json.dumps(plan), timeout=DEADLINE + 10)
        lines = {line["id"]: line for line in map(json.loads, done.stdout.splitlines())}
    except (CnilabError, json.JSONDecodeError) as error:
        problem = str(error)
    return [
        Dump(
            batch=batch,
            vantage=subjects[number].vantage,
            place=subjects[number].place,
            node=subjects[number].node.name if subjects[number].vantage in {"pod", "node"} else "",
            namespace=subjects[number].namespace,
            what=fact.what,
            command=fact.command,
            data=facts.data_of(fact, lines.get(f"{number}/{fact.what}"), problem),
        )
        for number, fact in asked
    ]
