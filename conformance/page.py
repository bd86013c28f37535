"""The catalogue as a page: `python -m conformance.page > docs/conformance.md`. A test keeps the page up to date."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator

from conformance.model import Check
from conformance.registry import AREAS
from harness.faults.catalogue import faults
from harness.faults.model import split_target

GATES = {
    "multi": "two nodes or more",
    "ctr": "pods can have several containers",
    "kubelet": "a kubelet probes pods",
    "svc": "Services are implemented",
    "kp": "kube-proxy implements Services",
    "kpf": "another program implements Services, and kube-proxy is absent",
    "dns": "the cluster has DNS",
    "np": "NetworkPolicy is enforced",
    "nonp": "NetworkPolicy is not enforced, and the variant says so",
    "v6": "pods have IPv6 addresses",
    "dual": "pods have addresses of both families",
    "ovl": "packets between nodes are encapsulated",
    "fdb": "the kernel's forwarding and neighbour tables lead to the other tunnel ends",
    "agentfile": "agents write each node's share and tunnel end into a file and into annotations",
    "br": "pods of a node share a Linux bridge",
    "ncidr": "every node has its own pod CIDR",
    "lease": "addresses are leased from files on the node (host-local)",
    "masq": "traffic to the outside is masqueraded",
    "nfmasq": "it is masqueraded by netfilter rules that depend only on the packet",
    "hport": "hostPort works",
    "hostip": "the suite's pods have host ports of one address (hostIP)",
    "router": "the cluster has a router that plays the outside world and logs what it sees",
    "cap": "packets can be captured on nodes",
    "cni4": "the CNI configuration has version 0.4.0 or later (CHECK)",
    "cni11": "the CNI configuration has version 1.1.0 or later (GC, STATUS)",
    "sctp": "the kernel has SCTP",
    "dis": "checks that disturb the cluster are asked for (`--disruptive`)",
    "agent": "every node has an agent of the network that works on",
    "bare": "the network can be taken off the nodes and put back (provider `namespaces`)",
    "node": "the kernel state of nodes and pods can be read",
    "hosts": "pods may use their node's network",
    "known": "the network plugin is one whose links, routes and MTU are known",
    "ranges": "the ranges of pods, Services and nodes are known",
    "neigh": "the limit of the kernel's neighbour table can be read",
    "verbs": "CNI plugins may be called on a node",
    "slices": "EndpointSlices may be written",
    "policies": "NetworkPolicies may be tested in their own namespaces",
    "api": "the Service `kubernetes` and its endpoints can be read",
}

HEAD = """# Conformance catalogue

This page lists what `cnilab test` requires of a cluster's network, and the faults that prove each check.
It is generated from the registry (`python -m conformance.page`). [Writing a check](writing-a-check.md) explains how to
add one.

**Levels.** M must hold, S should hold, R is only recorded. A failed M is exit code 1. A check without a verdict
(`error`: a control is broken, nothing was examined, or something could not be read) is exit code 11: the cluster is
broken, not the network.
**Gates.** A check applies if all its gates are open. Variants declare gates in `harness/cni/*/variants/*.yaml`. The
suite itself never names a CNI. A variant can also declare a deviation: a requirement that it is known not to meet, with
the reason. kube-proxy's mode `ipvs` has one, too. A deviation is recorded with all its legs and does not fail the run.
**Batches.** B0 kernel state, B1 mesh, B2 packet sizes and captures, B3 Services, B4 DNS, B5 egress, B6
policies, B7 CNI verbs, B8 disturbances, B9 removal of the network. B8 and B9 run last, and only with
`cnilab test --disruptive`: [Disturbing checks](writing-a-check.md#disturbing-checks).
**Killed by.** Faults of `cnilab test --faults` under which the check must fail. `inv`: no fault kills the check.
Instead, where possible, the check has its own control, which applies the same rule to an example that must fail. A unit
test verifies that control.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_gates(), *_checks(), *_faults()]) + "\n"


def _gates() -> Iterator[str]:
    yield "## Gates\n"
    yield "| gate | open when |"
    yield "|---|---|"
    for gate, meaning in GATES.items():
        yield f"| `{gate}` | {meaning} |"
    yield ""


def _checks() -> Iterator[str]:
    killers: dict[str, list[str]] = defaultdict(list)
    for fault in faults():
        for target in fault.kills:
            name = split_target(target)[0]
            killers[name] += [] if fault.id in killers[name] else [fault.id]
    for area, checks in AREAS.items():
        yield f"## {area}\n"
        yield "| id | level | requirement | gates | batch | killed by | source |"
        yield "|---|---|---|---|---|---|---|"
        for check in checks:
            yield _row(check, killers[check.id])
        yield ""


def _row(check: Check, killers: list[str]) -> str:
    by = " ".join([*killers, *(["inv"] if check.inverse else [])])
    gates = " ".join(f"`{gate}`" for gate in check.gates)
    return f"| `{check.id}` | {check.level} | {check.title} | {gates} | {check.batch} | {by} | {check.source} |"


def _faults() -> Iterator[str]:
    yield "## Faults\n"
    yield "Faults are injected one at a time into a cluster where all checks pass, and are repaired afterwards."
    yield "A fault is *equivalent* if its preconditions are absent."
    yield ""
    yield "| id | name | what is wrong | needs | must fail | must not fail |"
    yield "|---|---|---|---|---|---|"
    for fault in faults():
        needs = " ".join(f"`{need}`" for need in fault.needs)
        kills, spares = (", ".join(f"`{target}`" for target in targets) for targets in (fault.kills, fault.spares))
        yield f"| {fault.id} | {fault.name} | {fault.title} | {needs} | {kills} | {spares} |"


if __name__ == "__main__":
    sys.stdout.write(page())
