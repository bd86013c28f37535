"""What a lab with IPv6 is made of, as far as it differs from the same lab without."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import pytest

from harness.cni import catalogue
from harness.cni.bridge import nodes
from harness.model.family import IpFamily
from harness.model.spec import LabSpec
from harness.steps.lifecycle.render import render

FAMILIES: tuple[IpFamily, ...] = ("dual", "ipv6")
NETWORKS = ("manifests/", "helm/")
OTHERS = ("flannel-host-gw", "cilium", "cilium-vxlan", "cilium-kube-proxy", "cilium-cluster-pool")


def rendered(cni: str, provider: str, families: IpFamily) -> dict[str, str]:
    spec = LabSpec.model_validate({"name": "one", "cni": cni, "provider": provider, "ipFamily": families})
    return render(spec, catalogue.variant(cni))


def differences(old: dict[str, str], new: dict[str, str]) -> str:
    """Lines that went and came, file by file: what stays may depend on the machine."""
    assert set(old) == set(new)
    text = ""
    for name in sorted(new):
        lines = difflib.ndiff(old[name].splitlines(), new[name].splitlines())
        changed = [line.rstrip() for line in lines if line[:2] in {"- ", "+ "}]
        text += "".join(f"{line}\n" for line in (f"# {name}", *changed)) if changed else ""
    return text


@pytest.mark.parametrize("families", FAMILIES)
@pytest.mark.parametrize("provider", ["namespaces", "kind"])
def test_what_a_lab_with_ipv6_has_instead_is_as_recorded(
    provider: str, families: IpFamily, golden: Callable[[str, str], None]
) -> None:
    text = differences(rendered("flannel", provider, "ipv4"), rendered("flannel", provider, families))
    golden(f"families/{provider}-{families}.txt", text)


@pytest.mark.parametrize("families", FAMILIES)
@pytest.mark.parametrize("cni", OTHERS)
def test_what_other_networks_are_told_of_ipv6_is_as_recorded(
    cni: str, families: IpFamily, golden: Callable[[str, str], None]
) -> None:
    old, new = rendered(cni, "namespaces", "ipv4"), rendered(cni, "namespaces", families)
    own = {name for name in new if name.startswith(NETWORKS) and "coredns" not in name}
    text = differences({name: old[name] for name in own}, {name: new[name] for name in own})
    golden(f"families/{cni}-{families}.txt", text)


@pytest.mark.parametrize("families", FAMILIES)
def test_what_the_bridge_runs_on_a_node_is_as_recorded(families: IpFamily, golden: Callable[[str, str], None]) -> None:
    spec = LabSpec(name="one", cni="bridge", nodes=3, ip_family=families)
    shares = {
        name: [str(list(spec.pods.range(family).subnets(new_prefix=spec.pods.mask(family)))[number])
               for family in spec.families]
        for number, name in enumerate(spec.node_names)
    }  # fmt: skip
    items = {name: {"metadata": {"name": name}, "spec": {"podCIDRs": share}} for name, share in shares.items()}
    peers = {name: nodes.peer(item, spec.all_addresses(name)) for name, item in items.items()}
    commands = nodes.node_commands(spec, catalogue.variant("bridge"), peers["n2"], peers)
    golden(f"families/bridge-{families}.txt", "".join(f"# {' '.join(one.argv)}\n{one.stdin}" for one in commands))
