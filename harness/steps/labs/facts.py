"""Variables of labs' expressions that do not change while a lab runs: the spec, the variant, the world outside."""

from __future__ import annotations

from typing import Any

from harness import timeouts
from harness.cni import networks
from harness.cni.charts import Charts
from harness.model import world
from harness.model.labstate import LabDir
from harness.steps.lifecycle.attach import Attached


def of_lab(attached: Attached) -> dict[str, Any]:
    """What is known of a lab without asking it.

    Args:
        attached: The lab.
    """
    spec, variant = attached.spec, attached.variant
    release = networks.chart(spec, variant)
    return {
        "spec": {**spec.model_dump(mode="json"), "router": str(spec.router("ipv4")),
                 "router6": str(spec.router("ipv6")), "nic": spec.cluster_nic, "router_nic": spec.router_nic,
                 "families": list(spec.families), "api": str(spec.services.api_address(spec.primary)),
                 "dns": str(spec.services.dns_address(spec.primary)),
                 "chart": str(Charts(LabDir(attached.state, spec.name)).chart(release)) if release else ""},
        "variant": variant.model_dump(mode="json"),
        "world": {
            "public": str(world.PUBLIC.ip), "zone": world.ZONE, "neighbour": str(world.NEIGHBOUR.ip),
            "loopbacks": [str(one.ip) for one in world.LOOPBACKS], "far": str(world.FAR_HOST),
            "public6": str(world.PUBLIC6.ip), "neighbour6": str(world.NEIGHBOUR6.ip),
            "loopbacks6": [str(one.ip) for one in world.LOOPBACKS6], "far6": str(world.FAR_HOST6),
            "port": world.RESPONDER_PORT, "log": world.LOG,
        },
        "pod_mtu": variant.expect.pod_mtu(spec.underlay.mtu),
        "pod_mtu6": variant.expect.of("ipv6").pod_mtu(spec.underlay.mtu),
        "patience": timeouts.stretched(1),
    }  # fmt: skip
