"""flannel: what the program knows of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.cni.flannel import manifests as flannel
from harness.cni.network import Configuration, Network
from harness.model.variant import Variant


def _variant(config: Mapping[str, str], candidates: Sequence[Variant]) -> tuple[Variant, str] | None:
    try:
        net = json.loads(config["net-conf.json"])
        backend: Mapping[str, Any] = net["Backend"]
    except (KeyError, ValueError, TypeError):
        return None
    if backend.get("DirectRouting"):
        return None  # routes here, tunnel there: no one form holds for all pairs of nodes
    for known in candidates:
        if known.values.get("backend", {}).get("Type") == backend.get("Type"):
            networks = [net.get("Network"), net.get("IPv6Network") if net.get("EnableIPv6") else None]
            cidr = ",".join(str(one) for one in networks if one)
            return _tuned(known, backend, nftables=bool(net.get("EnableNFTables"))), cidr
    return None


def _tuned(known: Variant, backend: Mapping[str, Any], *, nftables: bool) -> Variant:
    """A flannel variant with this cluster's tunnel: its identifier is part of the device's name."""
    expect = known.expect
    if expect.wire.kind == "vxlan":
        vni, port = int(backend.get("VNI", 1)), int(backend.get("Port", 8472))
        device, device6 = f"flannel.{vni}", f"flannel-v6.{vni}"
        usual6 = expect.of("ipv6").overlay_device
        links6 = [device6 if link == usual6 else link for link in expect.of("ipv6").links]
        expect = expect.model_copy(
            update={
                "wire": expect.wire.model_copy(update={"vni": vni, "port": port}),
                "links": tuple(device if link == expect.overlay_device else link for link in expect.links),
                "overlay_device": device,
                "ipv6": {**expect.ipv6, "links": links6, "overlayDevice": device6} if expect.ipv6 else {},
            }
        )
    if nftables:
        expect = expect.model_copy(update={"masquerade": "flannel-nftables"})
    return known.model_copy(update={"expect": expect})


NETWORK = Network(
    images=("flannel", "flannel-cni-plugin"),
    manifests=flannel.manifests,
    adapted=flannel.adapted,
    footprint=flannel.FOOTPRINT,
    agents=("flanneld",),
    configuration=Configuration(flannel.NAMESPACE, flannel.CONFIG_MAP, _variant),
)
