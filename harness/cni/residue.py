"""What a node without a pod network does not have: judged from its inventory, strictly. Pure.

The rule is the opposite of the one by which things are removed: not what a driver is known to make counts, but all
that a bare node of this lab has no reason to have. So what a driver was not known to make is found, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.cni.footprint import tables_of, target
from harness.model.netstate import NetState, Route
from harness.model.spec import LabSpec

_FALLBACK_LINKS = frozenset({
    "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0",
})  # fmt: skip
"""Devices that the kernel puts into every network namespace when their module is there."""

_RULES = {
    ("inet", 0, "from all lookup local"),
    ("inet", 32766, "from all lookup main"),
    ("inet", 32767, "from all lookup default"),
    ("inet6", 0, "from all lookup local"),
    ("inet6", 32766, "from all lookup main"),
}
_KUBELET_CHAINS = frozenset({"KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY", "KUBE-FIREWALL"})
_NFT_OF_IPTABLES = frozenset(
    f"{family} {table}" for family in ("ip", "ip6") for table in ("raw", "mangle", "nat", "filter", "security")
)
_OWN_PINS = frozenset({"/sys/fs/bpf/maps.debug", "/sys/fs/bpf/progs.debug"})
_OWN_RUN = frozenset({
    "/run/cilium",  # the node makes it: a control group is mounted below
    "/run/nri",  # containerd's socket for its own plugins, from 2.0 on
    "/run/cnilab", "/run/containerd", "/run/lock", "/run/mount", "/run/netns", "/run/xtables.lock",
})  # fmt: skip


@dataclass(frozen=True)
class Bare:
    """What a node of a lab has without a pod network.

    Args:
        nics: Its interfaces.
        networks: What it reaches directly, as prefixes.
        plugins: Names in /opt/cni/bin.
        agents: Pods in its own network that stay: namespace/name.
        kube_proxy: It runs kube-proxy, with all its rules.
    """

    nics: tuple[str, ...]
    networks: tuple[str, ...]
    plugins: frozenset[str]
    agents: frozenset[str] = frozenset()
    kube_proxy: bool = False


@dataclass(frozen=True, order=True)
class Residue:
    """Something that should be gone.

    Args:
        node: Where.
        kind: link, route, rule, neighbour, chain, filter rule, table, set, transform, program, pin, file, pod, process.
        what: Which.
    """

    node: str
    kind: str
    what: str

    def __str__(self) -> str:
        """`n1: link cni0`."""
        return f"{self.node}: {self.kind} {self.what}"


def bare(spec: LabSpec, plugins: Sequence[str], agents: Sequence[str], *, kube_proxy: bool) -> Bare:
    """What nodes of a lab have without a pod network.

    Args:
        spec: The lab.
        plugins: The CNI plugins that every node has before any driver.
        agents: Pods in nodes' own networks that belong to no driver.
        kube_proxy: Nodes run kube-proxy at that moment.
    """
    networks = [str(cidr) for cidr in spec.underlay_cidrs]
    networks += [str(spec.underlay.management_cidr)] if spec.underlay.dual_homed else []
    return Bare(spec.nics, tuple(networks), frozenset(plugins), frozenset(agents), kube_proxy)


def residue(state: NetState, expected: Bare) -> list[Residue]:
    """All that a node has beyond what a bare one has.

    Args:
        state: Its inventory.
        expected: What it may have.
    """
    return sorted(Residue(state.node, kind, what) for kind, what in _beyond(state, expected))


def _beyond(state: NetState, expected: Bare) -> Iterator[tuple[str, str]]:
    known = {"lo", *expected.nics, *_FALLBACK_LINKS}
    yield from (("link", link.name) for link in state.links if link.name not in known)
    yield from (("route", _named(route)) for route in state.routes if not _own_route(route, expected))
    for rule in state.rules:
        if (rule.family, rule.priority, rule.text) not in _RULES:
            yield "rule", f"{rule.priority}: {rule.text}"
    yield from (("neighbour", f"{one.dst} dev {one.dev}") for one in state.neighbours)
    yield from _beyond_firewall(state, expected)
    yield from (("set", name) for name in state.sets if not (expected.kube_proxy and name.startswith("KUBE-")))
    yield from (("transform", head) for head in state.transforms)
    yield from (("program", f"{one.name} at {one.place}") for one in state.programs)
    yield from (("pin", path) for path in state.pins if path not in _OWN_PINS)
    yield from (("file", path) for path in state.files if not _own_file(path, expected))
    yield from (("pod", key) for key in state.pods)
    yield from (("pod", key) for key in state.agents if key not in expected.agents)
    if not expected.kube_proxy:
        yield from (("process", name) for name in state.processes)


def _named(route: Route) -> str:
    words = [route.dst, f"via {route.via}" if route.via else "", f"dev {route.dev}" if route.dev else ""]
    words.append("" if route.table == "main" else f"table {route.table}")
    return " ".join(filter(None, words))


def _own_route(route: Route, expected: Bare) -> bool:
    if route.table != "main" or route.dev not in {"lo", *expected.nics}:
        return False
    if route.family == "inet6" and (route.dst.startswith("fe80:") or route.dev == "lo"):
        return True
    if route.dst == "default":
        return any((":" in network) == (route.family == "inet6") for network in expected.networks)
    return route.dst in expected.networks


def _own_file(path: str, expected: Bare) -> bool:
    if path.startswith("/opt/cni/bin/"):
        return path.rpartition("/")[2] in expected.plugins
    return path in _OWN_RUN


def _beyond_firewall(state: NetState, expected: Bare) -> Iterator[tuple[str, str]]:
    for program, saved in state.firewall.items():
        for table, chains, rules in tables_of(saved):
            own = {chain for chain in chains if chain in _KUBELET_CHAINS}
            own |= {chain for chain in chains if expected.kube_proxy and chain.startswith("KUBE-")}
            yield from (("chain", f"{program} {table} {chain}") for chain in chains if chain not in own)
            for rule in rules:
                # What is in a foreign chain is named by its chain already.
                if rule.split()[1] not in chains and target(rule) not in own:
                    yield "filter rule", f"{program} {table} {rule}"
    proxy = {"ip kube-proxy", "ip6 kube-proxy"} if expected.kube_proxy else set()
    yield from (("table", name) for name in state.tables if name not in _NFT_OF_IPTABLES | proxy)
