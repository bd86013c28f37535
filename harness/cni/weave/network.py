"""weave: what the program knows of it."""

from __future__ import annotations

from harness.cni.network import Network
from harness.cni.weave import manifests as weave

NETWORK = Network(
    images=("weave-kube", "weave-npc"), manifests=weave.manifests, footprint=weave.FOOTPRINT, agents=("weaver",)
)
