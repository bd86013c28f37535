from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from harness import yamlio
from harness.cluster import coredns
from harness.cni import catalogue
from harness.cni.bridge import nodes
from harness.cni.flannel import manifests
from harness.errors import UsageError
from harness.model.family import Family, IpFamily
from harness.model.spec import LabSpec, Pods, Underlay

PEERS = {
    name: nodes.Peer(name, {"ipv4": IPv4Address(address)}, {"ipv4": IPv4Network(cidr)})
    for name, address, cidr in (
        ("n1", "172.18.0.11", "10.244.0.0/24"),
        ("n2", "172.18.0.12", "10.244.1.0/24"),
        ("n3", "172.18.0.13", "10.244.2.0/24"),
    )
}


@pytest.mark.parametrize("name", catalogue.names())
def test_every_variant_file_is_complete(name: str) -> None:
    variant = catalogue.variant(name)
    assert variant.name == name
    assert ("ovl" in variant.gates) == (variant.expect.wire.kind != "plain") == (variant.expect.overhead > 0)
    assert ("lease" in variant.gates) == (variant.expect.lease_dir is not None)
    assert ("agentfile" in variant.gates) == (variant.expect.agent is not None)
    assert ("br" in variant.gates) == (variant.expect.bridge is not None)


def test_an_unknown_variant_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        catalogue.variant("flanel")
    assert "did you mean 'flannel'?" in str(caught.value)


@pytest.mark.parametrize("name", ["flannel", "flannel-host-gw"])
def test_flannel_manifests_are_as_recorded(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"cni/{name}.yaml", yamlio.dumps_all(manifests.manifests(LabSpec(cni=name), catalogue.variant(name))))


def test_flannel_uses_the_nic_of_the_cluster_and_the_pod_network_of_the_spec() -> None:
    spec = LabSpec(underlay=Underlay(dual_homed=True), pods=Pods(cidr=IPv4Network("10.50.0.0/16")))
    text = yamlio.dumps_all(manifests.manifests(spec, catalogue.variant("flannel")))
    assert "--iface=eth1" in text
    assert '"Network": "10.50.0.0/16"' in text.replace('\\"', '"')


def test_cni_configuration_is_installed_after_the_subnet_file() -> None:
    daemonset = manifests.manifests(LabSpec(), catalogue.variant("flannel"))[-1]
    pod = daemonset["spec"]["template"]["spec"]
    assert [container["name"] for container in pod["initContainers"]] == ["install-cni-plugin"]
    hook = pod["containers"][0]["lifecycle"]["postStart"]["exec"]["command"][-1]
    assert hook.index("/run/flannel/subnet.env") < hook.index("install-conf")


def test_bridge_nodes_route_to_every_other_node_and_to_none_else() -> None:
    commands = nodes.node_commands(LabSpec(nodes=3), catalogue.variant("bridge"), PEERS["n2"], PEERS)
    assert commands[0].stdin.splitlines() == [
        "route replace 10.244.0.0/24 via 172.18.0.11 dev eth0",
        "route replace 10.244.2.0/24 via 172.18.0.13 dev eth0",
    ]


def test_bridge_configuration_comes_last_and_is_valid_json() -> None:
    *_, last = nodes.node_commands(LabSpec(nodes=3), catalogue.variant("bridge"), PEERS["n1"], PEERS)
    assert last.argv == ("tee", "/etc/cni/net.d/10-bridge.conflist")
    conf = json.loads(last.stdin)
    assert conf["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.0.0/24"}]]
    assert conf["plugins"][0]["ipMasq"] is False


def test_bridge_nodes_route_and_masquerade_in_each_family() -> None:
    spec = LabSpec(nodes=2, ip_family="dual", primary_family="ipv6")
    shares = (["fd00:10:244::/64", "10.244.0.0/24"], ["fd00:10:244:1::/64", "10.244.1.0/24"])
    items = [
        {"metadata": {"name": name}, "spec": {"podCIDR": share[0], "podCIDRs": share}}
        for name, share in zip(spec.node_names, shares, strict=True)
    ]
    peers = {
        name: nodes.peer(item, spec.all_addresses(name)) for name, item in zip(spec.node_names, items, strict=True)
    }
    assert peers["n2"].addresses == {"ipv6": IPv6Address("fd00:172:18::12"), "ipv4": IPv4Address("172.18.0.12")}
    assert peers["n2"].pod_cidrs["ipv6"] == IPv6Network("fd00:10:244:1::/64")
    routes, six, four, _, conf = nodes.node_commands(spec, catalogue.variant("bridge"), peers["n1"], peers)
    assert routes.stdin.splitlines() == [
        "route replace fd00:10:244:1::/64 via fd00:172:18::12 dev eth0",
        "route replace 10.244.1.0/24 via 172.18.0.12 dev eth0",
    ]
    assert (six.argv[0], four.argv[0]) == ("ip6tables-restore", "iptables-restore")
    assert "-s fd00:10:244::/64 ! -d fd00:10:244::/56" in six.stdin
    assert "-s 10.244.0.0/24 ! -d 10.244.0.0/16" in four.stdin
    ranges = json.loads(conf.stdin)["plugins"][0]["ipam"]["ranges"]
    assert ranges == [[{"subnet": "fd00:10:244::/64"}], [{"subnet": "10.244.0.0/24"}]]


def test_bridge_masquerades_only_what_leaves_the_pod_network() -> None:
    commands = nodes.node_commands(LabSpec(nodes=2), catalogue.variant("bridge"), PEERS["n1"], PEERS)
    rules = commands[1].stdin
    assert "-s 10.244.0.0/24 ! -d 10.244.0.0/16" in rules
    assert rules.count("MASQUERADE") == 1


def test_with_kind_the_corefile_names_the_router_since_nodes_may_still_have_the_engines_name_server() -> None:
    spec = LabSpec(provider="kind")
    assert f"forward . {spec.router_address} {{" in coredns.corefile(spec)
    assert "forward . /etc/resolv.conf {" in coredns.corefile(LabSpec())


def test_coredns_manifests_are_as_recorded(golden: Callable[[str, str], None]) -> None:
    golden("cluster/coredns.yaml", yamlio.dumps_all(coredns.manifests(LabSpec())))


@pytest.mark.parametrize(
    ("version", "overhead"), [("", 95), ("1.20.0", 95), ("1.20.2", 95), ("1.21.0", 95), ("1.19.4", 80), ("1.9.1", 80)]
)
def test_what_a_network_takes_may_depend_on_its_version(version: str, overhead: int) -> None:
    spec = LabSpec(cni="cilium-wireguard", cni_version=version)
    assert catalogue.of(spec).expect.overhead == overhead
    assert catalogue.of(LabSpec(cni="flannel", cni_version=version)) == catalogue.variant("flannel")


@pytest.mark.parametrize(
    ("name", "pod", "link"),
    [
        ("flannel", 1450, 1450),
        ("flannel-host-gw", 1500, 1500),
        ("cilium", 1500, 1500),
        ("cilium-vxlan", 1450, 1500),
        ("cilium-wireguard", 1405, 1500),
    ],
)
def test_what_a_pod_may_send_and_what_its_link_says(name: str, pod: int, link: int) -> None:
    expect = catalogue.variant(name).expect
    assert (expect.pod_mtu(1500), expect.link_mtu(1500)) == (pod, link)


@pytest.mark.parametrize(
    ("cni", "family", "overhead", "outer"),
    [
        ("flannel", "ipv4", 50, "ipv4"),
        ("flannel", "dual", 70, "ipv6"),
        ("flannel", "ipv6", 70, "ipv6"),
        ("flannel-host-gw", "dual", 0, "ipv6"),
        ("bridge", "ipv6", 0, "ipv6"),
        ("cilium-vxlan", "dual", 50, "ipv4"),
        ("cilium-vxlan", "ipv6", 70, "ipv6"),
        ("cilium-geneve", "ipv6", 70, "ipv6"),
        ("cilium-ipsec", "dual", 127, "ipv4"),
        ("cilium-ipsec", "ipv6", 147, "ipv6"),
        ("cilium-wireguard", "dual", 95, "ipv4"),
        ("cilium-wireguard", "ipv6", 95, "ipv6"),
    ],
)
def test_what_a_tunnel_costs_depends_on_the_family_that_carries_it(
    cni: str, family: IpFamily, overhead: int, outer: Family
) -> None:
    spec = LabSpec(cni=cni, ip_family=family)
    own = spec.families[-1]
    expect = catalogue.of(spec).expect.of(own)
    assert expect.overhead == overhead
    assert expect.wire.outer(own, spec.families) == outer
