"""Values of cilium's chart say what a lab's own manifests say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness import yamlio
from harness.cni import catalogue, chart, cilium
from harness.model.spec import LabSpec
from harness.steps.render import render

VARIANTS = [name for name in catalogue.names() if catalogue.variant(name).driver == "cilium"]


def values(name: str) -> dict[str, object]:
    return chart.values(LabSpec(cni=name), catalogue.variant(name))


def test_values_of_the_first_variant_are_as_recorded(golden: Callable[[str, str], None]) -> None:
    golden("cni/cilium-helm-values.yaml", yamlio.dumps(values("cilium")))


@pytest.mark.parametrize("name", VARIANTS)
def test_whatever_a_variant_chooses_reaches_the_chart(name: str) -> None:
    chosen = set(catalogue.variant(name).values["config"])
    assert chosen - set(chart.VALUES) - chart.LEFT_OUT == set()


def test_variants_differ_in_the_chart_as_they_do_here() -> None:
    assert values("cilium-lean") | {"hubble": None} == values("cilium") | {
        "hubble": None,
        "policyEnforcementMode": "never",
    }
    assert values("cilium-vxlan")["tunnelProtocol"] == "vxlan"
    assert values("cilium-wireguard")["encryption"] == {"enabled": True, "type": "wireguard"}
    assert "k8sServiceHost" not in values("cilium-kube-proxy")
    assert values("cilium-cluster-pool")["ipam"] == {
        "mode": "cluster-pool",
        "operator": {"clusterPoolIPv4MaskSize": 24, "clusterPoolIPv4PodCIDRList": ["10.244.0.0/16"]},
    }


def test_the_chart_is_of_the_version_that_is_built() -> None:
    assert cilium.IMAGE.endswith(f":v{chart.VERSION}")


def test_render_has_them_beside_the_manifests() -> None:
    variant = catalogue.variant("cilium")
    files = render(LabSpec(cni="cilium"), variant)
    assert yamlio.loads(files["helm/cilium-values.yaml"]) == values("cilium")
    assert not [path for path in render(LabSpec(), catalogue.variant("flannel")) if path.startswith("helm/")]
