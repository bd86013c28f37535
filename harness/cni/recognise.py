"""Which network a cluster has, from what is seen of it: DaemonSets, an agent's ConfigMap, a node's CNI configuration.

A network that is none of the catalogue's is `generic`: a variant that promises what the Kubernetes network model does,
and nothing about links, routes or rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from harness.cni import catalogue, networks
from harness.model.variant import Expectations, Hops, Variant, Wire

GENERIC: Final = "generic"


@dataclass(frozen=True)
class Seen:
    """What was seen; less where less may be looked at.

    Args:
        daemon_sets: `namespace/name` of all.
        config: Data of the agents' ConfigMaps, by driver.
        conf_files: Names of the files in a node's /etc/cni/net.d, in lexical order; the first counts.
    """

    daemon_sets: frozenset[str] = frozenset()
    config: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    conf_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recognised:
    """The network.

    Args:
        variant: What may be expected of it.
        why: What it was recognised by, or why it was not.
        cidr: The pods' range, where its configuration says so; of both families, separated by a comma.
    """

    variant: Variant
    why: str
    cidr: str = ""

    @property
    def known(self) -> bool:
        """It is one of the catalogue's."""
        return self.variant.name != GENERIC


def recognise(seen: Seen, *, dns: bool) -> Recognised:
    """The network, as far as it can be told.

    Args:
        seen: What was seen.
        dns: The cluster has DNS.
    """
    drivers = _drivers(seen)
    if not drivers:
        agents = sorted(name for name in seen.daemon_sets if not name.endswith("/kube-proxy"))
        words = f"none of the DaemonSets is known: {', '.join(agents)}" if agents else "no agent of a network was seen"
        if seen.conf_files:
            words = f"the CNI configuration {seen.conf_files[0]} is not known"
        return Recognised(generic(dns=dns), words)
    driver = drivers[0]
    config = seen.config.get(driver)
    candidates = [catalogue.variant(name) for name in catalogue.names() if catalogue.variant(name).driver == driver]
    known = networks.of(driver).configuration
    if known is None:
        agents = sorted(_agents(candidates[0]) & {name.partition("/")[2] for name in seen.daemon_sets})
        return Recognised(
            candidates[0], f"DaemonSet {agents[0]}" if agents else f"CNI configuration {seen.conf_files[0]}"
        )
    config_map = f"ConfigMap {known.namespace}/{known.name}"
    if config is None:
        return Recognised(generic(dns=dns), f"looks like {driver}, whose {config_map} cannot be read")
    found = known.variant(config, candidates)
    if found is None:
        return Recognised(generic(dns=dns), f"{driver} in a mode that the catalogue lacks, by its {config_map}")
    variant, cidr = found
    return Recognised(variant, config_map, cidr)


def _drivers(seen: Seen) -> list[str]:
    """Drivers of the catalogue that show, by their DaemonSets' names or by the CNI configuration that wins."""
    found: dict[str, None] = {}
    names = {name.partition("/")[2] for name in seen.daemon_sets}
    for known in map(catalogue.variant, catalogue.names()):
        if _agents(known) & names or known.expect.conf_file in seen.conf_files[:1]:
            found[known.driver] = None
    return list(found)


def _agents(known: Variant) -> set[str]:
    return {workload.split("/")[2] for workload in known.workloads if "/DaemonSet/" in workload}


def generic(*, dns: bool) -> Variant:
    """A network of which nothing is known but that it is one of Kubernetes.

    Its MTU is what pods have: nothing is taken from that, and the largest packet that a pod may send must arrive.
    """
    return Variant(
        name=GENERIC,
        title="a network that is not in the catalogue",
        driver="generic",
        summary="What every network of Kubernetes promises: pods, Services and names. No agent's details.",
        gates=("ctr", "kubelet", "svc", *(("dns",) if dns else ())),
        expect=Expectations(
            overhead=0,
            overhead_on="none",
            wire=Wire(kind="plain"),
            links=(),
            remote_route="none",
            overlay_device=None,
            bridge=None,
            hops=Hops(same_node=None, cross_node=None),
            lease_dir=None,
            masquerade="none",
            conf_file="",
            conf_version="",
            pod_to_node_source="record",
            node_to_pod_source="record",
            heal_seconds={},
        ),
    )
