"""cilium: what the program knows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.cni.cilium import drops
from harness.cni.cilium import values as cilium
from harness.cni.network import Configuration, Network
from harness.model.datapath import Datapath
from harness.model.family import FAMILIES
from harness.model.variant import Variant

_DECISIVE: Final = (
    "routing-mode",
    "tunnel-protocol",
    "kube-proxy-replacement",
    "ipam",
    "enable-wireguard",
    "enable-ipsec",
    "enable-policy",
)
"""Keys of cilium's configuration that make another variant of it; all others are details."""


def _variant(config: Mapping[str, str], candidates: Sequence[Variant]) -> tuple[Variant, str] | None:
    def decisive(values: Mapping[str, Any]) -> dict[str, str]:
        chosen = {key: str(values[key]) for key in _DECISIVE if values.get(key) not in {None, "", "false", "default"}}
        if chosen.get("routing-mode") != "tunnel":
            chosen.pop("tunnel-protocol", None)  # kept in the configuration, and of no account
        return chosen

    wanted = decisive(config)
    for known in candidates:
        if decisive(cilium.decisive(known.values["helm"])) == wanted:
            pools = (config.get(f"cluster-pool-{family}-cidr", "") for family in FAMILIES)
            return known, ",".join(filter(None, pools))
    return None


NETWORK = Network(
    # The relay runs where somebody asks the chart for it (hubble.relay.enabled).
    images=("cilium", "cilium-operator", "hubble-relay"),
    manifests=cilium.manifests,
    release=cilium.RELEASE,
    datapath=Datapath(cilium.MAPS_DIR, cilium.CGROUP_ROOT, cilium.MAPS, cilium.COUNTERS, cilium.REASONS),
    drops=drops.MONITOR,
    file_systems={"/sys/fs/bpf": "bpf", cilium.CGROUP_ROOT: "cgroup2"},
    footprint=cilium.FOOTPRINT,
    agents=("cilium-agent",),
    configuration=Configuration(cilium.NAMESPACE, "cilium-config", _variant),
)
