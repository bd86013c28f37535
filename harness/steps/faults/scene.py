"""A lab as faults see it: names with their values, ways into places, and preconditions."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from conformance.context import Context
from conformance.dumps import links
from conformance.inventory import NAMESPACE
from conformance.maths import base, first_host
from conformance.netfilter import Flow, parse, verdicts
from conformance.policy.cases import PREFIX
from harness.cni import networks
from harness.faults.inject import Scene
from harness.faults.model import Fault, Situation
from harness.model.variant import Gate
from harness.model.world import PUBLIC
from harness.probes import sandboxes
from harness.runner import Runner
from harness.steps.suite.deploy import Suite

LOWER = 100
"""Bytes by which the fault `underlay-low` lowers an MTU."""


def scene(suite: Suite, context: Context) -> Scene:
    """Names, runners and programs for a lab.

    Args:
        suite: The deployed suite.
        context: Green observations, with the dumps of B0.
    """
    runners = {node.name: node.runner for node in suite.attached.lab.nodes}
    runners["kubectl"] = suite.attached.kubectl
    for site in suite.inventory.pods:
        runners[site.name] = suite.sandboxes.netns_runner(suite.sandboxes.find(NAMESPACE, site.pod))
    runners |= _policed(suite, context)
    return Scene(
        runners=runners,
        values=dict(_values(suite, context)),
        agents=networks.network(suite.attached.variant).agents,
        nodes=tuple(node.name for node in suite.inventory.nodes),
    )


def _policed(suite: Suite, context: Context) -> Iterator[tuple[str, Runner]]:
    """Network namespaces of the pods on which policies are tried, when they are there: they came after the others."""
    if context.attempt("api", "cluster", "policy") is None:
        return
    found = sandboxes.take(suite.attached.lab)
    for one in found.sandboxes:
        if one.namespace.startswith(PREFIX):
            yield f"{one.namespace.removeprefix(PREFIX)}/{one.pod}", found.netns_runner(one)


def _values(suite: Suite, context: Context) -> Iterator[tuple[str, str]]:
    yield from _node_values(context)
    yield from _pod_values(suite)
    yield from _service_values(context)
    spec, expect = context.spec, context.expect
    net = spec.pods.cidr
    yield "NET", str(net)
    yield "STRAY", str(net[net.num_addresses - 100])
    yield "X", str(PUBLIC.ip)
    yield "U", spec.cluster_nic
    yield "ZONE", spec.services.domain
    yield "DNS", context.inventory.node_dns
    plugins = (context.attempt("cni", context.inventory.nodes[0].name, "verbs") or {}).get("conf") or {}
    yield "CONF", f"/etc/cni/net.d/{expect.conf_file}"
    if plugins:
        yield "PLUGIN", f"/opt/cni/bin/{plugins['plugins'][0]['type']}"
    underlay = context.inventory.nodes[0].mtu
    yield "UMTU", str(underlay)
    yield "ULOW", str(underlay - LOWER)
    yield "E", str(expect.pod_mtu(underlay))
    if expect.overlay_device:
        yield "V", expect.overlay_device
    if expect.bridge:
        yield "B", expect.bridge
    if expect.wire.port:
        yield "PORT", str(expect.wire.port)
    if expect.lease_dir:
        yield "LEASES", expect.lease_dir
    if rule := masquerade_rule(_rules(context)):
        yield "MASQ", rule


def _node_values(context: Context) -> Iterator[tuple[str, str]]:
    for number, node in enumerate(context.inventory.nodes, start=1):
        yield f"N{number}", node.address
        if node.pod_cidr:
            share = ipaddress.ip_network(node.pod_cidr)
            yield f"C{number}", node.pod_cidr
            yield f"L{number}", str(share.prefixlen)
            yield f"G{number}", first_host(node.pod_cidr)
            yield f"T{number}", base(node.pod_cidr)
            if number == 1:
                yield "SPARE", str(share[share.num_addresses - 3])
        tunnel = links(context, node.name).get(context.expect.overlay_device or "")
        if tunnel:
            yield f"M{number}", str(tunnel["address"])


def _pod_values(suite: Suite) -> Iterator[tuple[str, str]]:
    for site in suite.inventory.pods:
        yield site.name, site.ip
        yield f"H{site.name}", site.host_veth
        container = suite.sandboxes.find(NAMESPACE, site.pod).container(site.containers[0])
        if container is not None:
            yield f"PID{site.name}", str(container.pid)


def _service_values(context: Context) -> Iterator[tuple[str, str]]:
    for service in context.inventory.services:
        if service.cluster_ip not in {"", "None"}:
            yield f"VIP{service.name.replace('-', '_')}", service.cluster_ip
        if service.role == "nodeport":
            for port in service.ports:
                yield f"NP{port.proto}", str(port.node_port)


def masquerade_rule(text: str) -> str:
    """The rule of POSTROUTING that is neither kube-proxy's nor the port map's, as words for `iptables -D`."""
    for line in text.splitlines():
        _, found, words = line.partition("-A POSTROUTING ")
        if found and not any(f"-j {owner}" in words for owner in ("KUBE-", "CNI-")):
            return words
    return ""


def _rules(context: Context) -> str:
    """Rules of iptables on the first node; none where they could not be read."""
    text = context.attempt("node", context.inventory.nodes[0].name, "rules-iptables")
    return text if isinstance(text, str) else ""


def missing(fault: Fault, context: Context) -> list[str]:
    """Preconditions of a fault that this lab does not have."""
    return [need for need in fault.needs if not _holds(need, context)]


def _holds(need: Gate | Situation, context: Context) -> bool:  # noqa: PLR0911 - one return per situation
    first = context.inventory.nodes[0].name
    rules = _rules(context)
    match need:
        case "three":
            return len(context.inventory.nodes) > 2
        case "routed":
            return context.expect.remote_route != "none"
        case "brnf":
            sysctls = context.attempt("node", first, "sysctl") or {}
            return str(sysctls.get("net.bridge.bridge-nf-call-iptables")) == "1"
        case "kp-iptables":
            return context.gates.get("kp", False) and context.spec.kubernetes.proxy_mode == "iptables"
        case "portmap-iptables":
            return ":CNI-HOSTPORT-DNAT" in rules
        case "open-forward":
            return _depends_on_policy(rules, context)
        case _:
            return context.gates.get(need, False)


def _depends_on_policy(text: str, context: Context) -> bool:
    """True when only the policy of FORWARD lets pods' traffic pass."""
    dropping = text.replace(":FORWARD ACCEPT", ":FORWARD DROP")
    src, dst = context.inventory.pods[0].ip, context.inventory.pods[-1].ip
    away = context.expect.overlay_device or context.spec.cluster_nic
    flow = Flow(src, dst, context.expect.bridge or "", away)
    return verdicts(parse(dropping), "filter", "FORWARD", flow) == {"drop"}
