"""Which site asks what, batch by batch. Pure: from an inventory to lists of probes, linear in sites wherever possible.

The judges call the same functions, so that a probe that was planned and never reported is an error and not a pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from conformance.inventory import Inventory, NodeFact, ServiceFact, Site
from conformance.manifests import SIBLING_PORT
from conformance.maths import MIN_IPV6_MTU, ladder, pair_mtu, path_sizes, split_endpoint, udp_payload
from conformance.pairs import first_pods, ladder_pairs, mesh_pairs, node_pairs, setup_pairs
from conformance.tables import ports, sizes
from harness.model.family import Family, family_of_dial
from harness.model.variant import Expectations
from harness.probes.plan import (
    BindProbe,
    BurstProbe,
    ChurnProbe,
    ExchangeProbe,
    Extension,
    Probe,
    RungProbe,
    Target,
    Tls,
)

Plan = dict[str, list[Probe]]

UNUSED_PORT = 8999
"""Nobody listens here: a connection must be refused."""

TRANSPORTS = ("tcp", "udp")

EXTENSIONS: tuple[Extension, ...] = ("destination", "hop-by-hop")
"""Headers that packets of IPv6 are tried with; that of fragments is tried with sizes."""

AFFINE = 30
"""Dials that must all reach the same backend."""

STREAM = 200
"""Datagrams that one receiver gets at once when loss is counted: more would overflow its socket, not the network."""

LEAST_STREAM = 20


def to(site: Site, port: int = 0) -> Target:
    """A site's own address as a target, at its responder's port unless another is named."""
    return Target(site.name, site.node, site.ip, port or site.port)


def vip(service: ServiceFact, proto: str) -> Target:
    """A Service's virtual address as a target."""
    return Target(service.name, "", service.cluster_ip, service.port(proto).port)


def loopback(family: Family) -> str:
    """The address under which a machine reaches itself and nobody else does."""
    return "127.0.0.1" if family == "ipv4" else "::1"


def both(target: Target, purpose: str, **more: object) -> list[Probe]:
    """The same exchange over TCP and UDP."""
    return [ExchangeProbe(target, proto=proto, purpose=purpose, **more) for proto in ("tcp", "udp")]  # type: ignore[arg-type]


def underlay(inventory: Inventory, present: Mapping[str, int]) -> Plan:
    """B0: do the nodes reach each other at their current MTU? A prerequisite of everything.

    Args:
        inventory: What is there.
        present: MTU of each node's underlay NIC now, bytes; the frozen one where it is not known.
    """
    plan: Plan = defaultdict(list)
    for src in inventory.hosts:
        plan[src.name] += both(to(src), "underlay-self")
        for dst in inventory.hosts:
            if src.node != dst.node:
                now = [present.get(site.node, inventory.node(site.node).mtu) for site in (src, dst)]
                sizes = path_sizes(pair_mtu(*now), inventory.family)
                plan[src.name] += both(to(dst), "underlay")
                plan[src.name] += [RungProbe(to(dst), size, purpose="underlay") for size in sizes]
    return dict(plan)


def mesh(inventory: Inventory) -> Plan:
    """B1: reach, identity, translation, ports, hops and loss."""
    plan: Plan = defaultdict(list)
    for site in (*inventory.pods, *inventory.hosts):
        plan[site.name] += both(to(site), "self")
        plan[site.name] += both(Target("localhost", site.node, loopback(inventory.family), site.port), "localhost")
    for src, dst in mesh_pairs(inventory, cross=False) + mesh_pairs(inventory, cross=True):
        plan[src.name] += [*both(to(dst), "mesh"), ExchangeProbe(to(dst), proto="icmp", purpose="mesh")]
    for host in inventory.hosts:
        for pod in inventory.pods:
            plan[host.name] += both(to(pod), "host")
            plan[pod.name] += both(to(host), "host")
        plan[host.name] += [
            probe for other in inventory.hosts if other.name != host.name for probe in both(to(other), "host")
        ]
    share = max(LEAST_STREAM, STREAM // max(1, len(inventory.nodes) - 1))
    for src, dst in node_pairs(inventory):
        for port in ports():
            plan[src.name] += both(to(dst, port), "ports")
        plan[src.name] += [BurstProbe(to(dst)), BurstProbe(to(dst), count=share, purpose="loss")]
        if inventory.family == "ipv6":
            plan[src.name] += [
                ExchangeProbe(to(dst), proto="udp", purpose=f"extension-{kind}", extension=kind) for kind in EXTENSIONS
            ]
    _containers(inventory, plan)
    return dict(plan)


def _containers(inventory: Inventory, plan: Plan) -> None:
    """A sibling's port is taken and answers on localhost; in another pod the same port is free."""
    for site in inventory.pods:
        local = Target("localhost", site.node, loopback(inventory.family), UNUSED_PORT)
        plan[site.name].append(ExchangeProbe(local, purpose="closed", expect="refused"))
        if len(site.containers) > 1:
            sibling = Target(f"{site.name}-sibling", site.node, loopback(inventory.family), SIBLING_PORT)
            plan[site.name] += [
                ExchangeProbe(sibling, purpose="sibling"),
                BindProbe(SIBLING_PORT, purpose="bind-taken", expect="error"),
            ]
        else:
            plan[site.name].append(BindProbe(SIBLING_PORT, purpose="bind-free", expect="ok"))


def connections(inventory: Inventory) -> Plan:
    """B1, after the mesh: many connections. On their own, or the load would cost the mesh its datagrams."""
    chosen = first_pods(inventory)
    pairs = [(src, chosen[(number + 1) % len(chosen)]) for number, src in enumerate(chosen)]
    return {src.name: [ChurnProbe(to(dst))] for src, dst in pairs if src is not dst}


SETUPS = 48
"""Connections from one node over each kind of path, all other nodes together."""

MOST_SETUPS, LEAST_SETUPS = 12, 4
"""Connections over one path: one alone says little, as any packet can be lost once."""


def setups(inventory: Inventory) -> Plan:
    """B1, after the mesh and before the many connections: a few over each path, and over loopback beside them.

    Apart from both: the load of either can cost a connection its first SYN.
    """
    plan: Plan = defaultdict(list)
    count = max(LEAST_SETUPS, min(MOST_SETUPS, SETUPS // max(1, len(inventory.nodes))))
    pairs = setup_pairs(inventory)
    for src, dst in pairs:
        plan[src.name] += [ExchangeProbe(to(dst), purpose="setup", one_syn=True)] * count
    for site in dict.fromkeys(site for pair in pairs for site in pair):
        plan[site.name] += [ExchangeProbe(to(site), purpose="setup-self", one_syn=True)] * count
    return dict(plan)


def ladder_sizes(inventory: Inventory, expect: Expectations, src: Site, dst: Site) -> tuple[int, ...]:
    """Sizes of IP packets to try between two pods, bytes."""
    low = pair_mtu(inventory.node(src.node).mtu, inventory.node(dst.node).mtu)
    return ladder(expect.of(inventory.family).pod_mtu(low), low, fixed_sizes(inventory.family))


def fixed_sizes(family: Family) -> tuple[int, ...]:
    """Sizes that every path must carry anyway: in IPv6 none below the least MTU of a link (RFC 8200 §5)."""
    return tuple(case.size for case in sizes().ladder if family == "ipv4" or case.size >= MIN_IPV6_MTU)


def path_mtu(inventory: Inventory, expect: Expectations, src: Site, dst: Site) -> int:
    """Largest packet between two pods, bytes: the smaller effective MTU of the two nodes."""
    return expect.of(inventory.family).pod_mtu(pair_mtu(inventory.node(src.node).mtu, inventory.node(dst.node).mtu))


def packets(inventory: Inventory, expect: Expectations) -> Plan:
    """B2: what size of packet gets through, and does a payload arrive unchanged?"""
    plan: Plan = defaultdict(list)
    table = sizes()
    for src, dst in ladder_pairs(inventory):
        largest = path_mtu(inventory, expect, src, dst)
        plan[src.name] += [
            RungProbe(to(dst), size, expect="ok" if size <= largest else "msgsize", heed=expect.overhead_on == "route")
            for size in ladder_sizes(inventory, expect, src, dst)
        ]
    for src, dst in node_pairs(inventory):
        largest = path_mtu(inventory, expect, src, dst)
        plan[src.name] += [
            ExchangeProbe(to(dst), purpose="integrity-small", size=table.small),
            ExchangeProbe(to(dst), purpose="integrity", size=table.bulk),
            ExchangeProbe(
                to(dst), proto="udp", purpose="payload", size=udp_payload(largest, ipv6=inventory.family == "ipv6")
            ),
            ExchangeProbe(to(dst), proto="udp", purpose="unfragmented", size=table.unfragmented),
        ]
        plan[src.name] += [
            ExchangeProbe(to(dst), proto="udp", purpose="fragmented", size=case.size) for case in table.fragmented
        ]
    return dict(plan)


def wire(src: Site, dst: Site, largest: int) -> Plan:
    """B2: the few packets that the taps follow, both ways, small and as large as fits."""
    plan: Plan = {}
    for one, other in ((src, dst), (dst, src)):
        plan[one.name] = [
            *both(to(other), "wire"),
            ExchangeProbe(to(other), proto="icmp", purpose="wire"),
            ExchangeProbe(to(other), proto="udp", purpose="wire-large", size=udp_payload(largest, ipv6=":" in one.ip)),
        ]
    return plan


def services(inventory: Inventory, gates: Mapping[str, bool]) -> Plan:
    """B3: virtual addresses from pods, nodes and outside."""
    plan: Plan = defaultdict(list)
    by_role = {service.role: service for service in inventory.services}
    sole = [service for role, service in by_role.items() if role.startswith("sole-")]
    for site in (*inventory.pods, *inventory.hosts):
        for service in sole:
            purpose = "hairpin" if site.name in service.endpoints else "vip"
            plan[site.name] += [probe for proto in TRANSPORTS for probe in _vip(service, proto, purpose)]
    for site in first_pods(inventory):
        plan[site.name] += _of_node(inventory, site, by_role)
    _api_server(inventory, plan)
    if gates.get("router"):
        plan["router"] += _from_outside(inventory, by_role)
    if gates.get("hport"):
        _host_ports(inventory, gates, plan)
    return dict(plan)


def _of_node(inventory: Inventory, site: Site, by_role: Mapping[str, ServiceFact]) -> list[Probe]:
    """What one pod of a node asks for all of them."""
    probes: list[Probe] = []
    if (spread := by_role.get("spread")) is not None:
        probes += _vip(spread, "tcp", "spread") * spread_dials(len(spread.endpoints))
    if (affinity := by_role.get("affinity")) is not None:
        probes += _vip(affinity, "tcp", "affinity") * AFFINE
    if (empty := by_role.get("vip-empty")) is not None:
        for proto in TRANSPORTS:
            probes += [replace(probe, expect="refused") for probe in _vip(empty, proto, "no-endpoints")]
    if (local := by_role.get("itp-local")) is not None:
        here = set(local.endpoints) & {pod.name for pod in inventory.on(site.node)}
        probes += [replace(probe, expect="ok" if here else "timeout") for probe in _vip(local, "tcp", "itp-local")]
    return probes


API = "kubernetes"
"""How legs name the API server's Service."""


def _api_server(inventory: Inventory, plan: Plan) -> None:
    """All ask the API server's Service for its certificate; nodes and first pods ask the servers behind it, too."""
    api = inventory.api
    if api is None or family_of_dial(api.cluster_ip) != inventory.family:
        return
    tls = Tls(api.cluster_ip, api.ca)
    virtual = Target(API, "", api.cluster_ip, api.port)
    for site in (*inventory.pods, *inventory.hosts):
        plan[site.name].append(ExchangeProbe(virtual, purpose="api", tls=tls))
    owners = {node.address: node.name for node in inventory.nodes}
    for number, dial in enumerate(api.endpoints, start=1):
        address, port = split_endpoint(dial)
        target = Target(f"{API}-{number}", owners.get(address, ""), address, port)
        for site in (*inventory.hosts, *first_pods(inventory)):
            plan[site.name].append(ExchangeProbe(target, purpose="api-endpoint", tls=tls))


def _host_ports(inventory: Inventory, gates: Mapping[str, bool], plan: Plan) -> None:
    """The router and all other nodes dial every node's host port."""
    for node in inventory.nodes:
        target = Target(f"hostport@{node.name}", node.name, node.address, node.host_port)
        sources = [host.name for host in inventory.hosts if host.node != node.name]
        for source in [*sources, *(["router"] if gates.get("router") else [])]:
            plan[source] += both(target, "hostport")
        if node.bound_port:
            _bound_ports(inventory, node, gates, plan)


def _bound_ports(inventory: Inventory, node: NodeFact, gates: Mapping[str, bool], plan: Plan) -> None:
    """The host port of one address: all dial it at the node's own, and the node also at its loopback address.

    At the loopback address one pod has it for TCP over IPv4, and nobody has it otherwise.
    """
    target = Target(f"bound@{node.name}", node.name, node.address, node.bound_port)
    for source in [*(host.name for host in inventory.hosts), *(["router"] if gates.get("router") else [])]:
        plan[source] += both(target, "bound")
    if (own := inventory.host(node.name)) is not None:
        inside = Target(f"loopback@{node.name}", node.name, loopback(inventory.family), node.bound_port)
        for proto in TRANSPORTS:
            plan[own.name].append(
                ExchangeProbe(
                    inside,
                    proto=proto,  # type: ignore[arg-type]
                    purpose="bound-loopback",
                    expect="ok" if (proto, inventory.family) == ("tcp", "ipv4") else "refused",
                )
            )


MOVING_PORT = 29999
"""Source port of the UDP flow that has to follow a Service to its new endpoint."""


def moving(service: ServiceFact, client: Site, purpose: str) -> Plan:
    """B3: one look at a Service that moves: over TCP, over UDP from the same port as before, and from a fresh one."""
    return {
        client.name: [
            ExchangeProbe(vip(service, "tcp"), purpose=purpose),
            ExchangeProbe(vip(service, "udp"), proto="udp", purpose=f"{purpose}-flow", source_port=MOVING_PORT),
            ExchangeProbe(vip(service, "udp"), proto="udp", purpose=f"{purpose}-fresh"),
        ]
    }


def programmed(inventory: Inventory) -> Plan:
    """Before the suite: has every node's proxy programmed the Services?"""
    virtual = [one for one in inventory.services if one.endpoints and one.cluster_ip not in {"", "None"}]
    asked = [ExchangeProbe(vip(one, "tcp"), purpose="proxy") for one in virtual if one.role != "itp-local"]
    return {place.name: list(asked) for place in inventory.hosts or first_pods(inventory)}


def spread_dials(backends: int) -> int:
    """Dials from one client so that missing one of k fair backends has a probability below 1e-8.

    k (1 - 1/k)^n < 1e-8 holds for n = 20 k and k up to 60; two clients and more only make it smaller.
    """
    return 20 * max(backends, 1)


def _vip(service: ServiceFact, proto: str, purpose: str) -> list[ExchangeProbe]:
    return [ExchangeProbe(vip(service, proto), proto=proto, purpose=purpose)]  # type: ignore[arg-type]


def _from_outside(inventory: Inventory, by_role: Mapping[str, ServiceFact]) -> list[Probe]:
    """The router dials node ports."""
    probes: list[Probe] = []
    for node in inventory.nodes:
        for role in ("nodeport", "etp-local"):
            service = by_role.get(role)
            if service is None:
                continue
            local = set(service.endpoints) & {pod.name for pod in inventory.on(node.name)}
            expect = "timeout" if role == "etp-local" and not local else "ok"
            for proto in ("tcp", "udp") if role == "nodeport" else ("tcp",):
                port = service.port(proto).node_port or 0
                target = Target(f"{service.name}@{node.name}", node.name, node.address, port)
                probes.append(ExchangeProbe(target, proto=proto, purpose=role, expect=expect))  # type: ignore[arg-type]
    return probes


def commands(plans: Sequence[Plan]) -> int:
    """Programs that a set of plans runs: one per site and batch, whatever the number of pairs."""
    return sum(len(plan) for plan in plans)
