"""What takes a driver's things off a node: only its own, in an order that works, and nothing where nothing is."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest

from harness.cni import catalogue, networks
from harness.cni.bridge import nodes
from harness.cni.cilium import values
from harness.cni.flannel import manifests
from harness.cni.footprint import comment, matches, removal, target, without
from harness.model.netstate import Link, Neighbour, NetState, PolicyRule, Program, Route
from harness.model.variant import Variant

PODS = (IPv4Network("10.244.0.0/16"), IPv6Network("fd00:10:244::/56"))
NICS = ("eth0",)

FLANNEL_SAVED = """\
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:FLANNEL-FWD -
:KUBE-FORWARD -
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT
:POSTROUTING ACCEPT
:CNI-DN-3b7ffe784a1eecfd130fb -
:CNI-HOSTPORT-DNAT -
:FLANNEL-POSTRTG -
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE
-A CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 18080 -j CNI-DN-3b7ffe784a1eecfd130fb
-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
COMMIT
"""


def test_chains_go_with_the_rules_that_lead_to_them_and_others_rules_stay() -> None:
    assert without(FLANNEL_SAVED, manifests.FOOTPRINT).splitlines() == [
        "*filter",
        '-D FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
        "-F FLANNEL-FWD",
        "-X FLANNEL-FWD",
        "COMMIT",
        "*nat",
        "-D PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        '-D POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
        "-F CNI-DN-3b7ffe784a1eecfd130fb",
        "-F CNI-HOSTPORT-DNAT",
        "-F FLANNEL-POSTRTG",
        "-X CNI-DN-3b7ffe784a1eecfd130fb",
        "-X CNI-HOSTPORT-DNAT",
        "-X FLANNEL-POSTRTG",
        "COMMIT",
    ]


def test_a_rule_without_a_chain_of_its_own_is_known_by_its_comment() -> None:
    rule = f'-A POSTROUTING -s 10.244.0.0/24 -m comment --comment "{nodes.COMMENT}" -j MASQUERADE'
    saved = f"*nat\n:POSTROUTING ACCEPT\n{rule}\nCOMMIT\n"
    assert without(saved, nodes.FOOTPRINT) == f"*nat\n{rule.replace('-A', '-D', 1)}\nCOMMIT\n"
    assert without(saved, manifests.FOOTPRINT) == ""


def test_targets_and_comments_of_rules() -> None:
    assert target('-A X -m comment --comment "a -j b" -g Y') == "Y"
    assert target("-A X -p tcp") == ""
    assert comment('-A X -m comment --comment "two words" -j Y') == "two words"
    assert comment("-A X -m comment --comment one -j Y") == "one"
    assert comment("-A X -j Y") == ""


def test_a_bare_node_needs_no_command() -> None:
    node = NetState(node="n1", links=(Link(name="lo"), Link(name="eth0")), firewall={"iptables": "*nat\nCOMMIT\n"})
    assert [list(removal(node, one.FOOTPRINT, PODS, NICS)) for one in (nodes, values, manifests)] == [[], [], []]


@pytest.mark.parametrize("variant", [catalogue.variant(name) for name in catalogue.names()], ids=lambda one: one.name)
def test_every_link_that_a_variant_makes_is_one_that_its_removal_knows(variant: Variant) -> None:
    own = networks.network(variant).footprint.links
    made = {link for family in variant.families for link in variant.expect.of(family).links}
    assert [link for link in sorted(made) if not matches(link, own)] == []


def test_routes_into_the_pod_network_and_tables_of_the_drivers_go_and_the_nodes_own_stay() -> None:
    node = NetState(
        node="n1",
        routes=(
            Route(dst="default", dev="eth0", via="172.18.0.1"),
            Route(dst="172.18.0.0/16", dev="eth0"),
            Route(dst="10.244.1.0/24", dev="eth0", via="172.18.0.12"),
            Route(dst="10.244.0.7", dev="lxc1"),
            Route(dst="default", dev="lo", table="2004"),
        ),
        rules=(
            PolicyRule(priority=0, text="from all lookup local"),
            PolicyRule(priority=9, text="from all fwmark 0x200/0xf00 lookup 2004"),
        ),
        neighbours=(Neighbour(dst="172.18.0.12", dev="eth0"), Neighbour(dst="10.244.0.1", dev="lxc1")),
    )
    (command,) = removal(node, values.FOOTPRINT, PODS, NICS)
    assert command.argv == ("ip", "-4", "-force", "-batch", "-")
    assert command.stdin.splitlines() == [
        "rule delete priority 9 from all fwmark 0x200/0xf00 lookup 2004",
        "route delete 10.244.1.0/24 dev eth0 table main",
        "route delete default dev lo table 2004",
        "neigh delete 172.18.0.12 dev eth0",
    ]


def test_what_is_of_ipv6_is_removed_by_commands_of_ipv6() -> None:
    node = NetState(
        node="n1",
        routes=(
            Route(dst="default", dev="eth0", via="fd00:172:18::1", family="inet6"),
            Route(dst="fd00:172:18::/64", dev="eth0", family="inet6"),
            Route(dst="fd00:10:244:1::/64", dev="eth0", via="fd00:172:18::12", family="inet6"),
            Route(dst="10.244.1.0/24", dev="eth0", via="172.18.0.12"),
        ),
        neighbours=(Neighbour(dst="fd00:172:18::12", dev="eth0"),),
    )
    four, six = removal(node, nodes.FOOTPRINT, PODS, NICS)
    assert (four.argv[1], four.stdin) == ("-4", "route delete 10.244.1.0/24 dev eth0 table main\n")
    assert six.argv == ("ip", "-6", "-force", "-batch", "-")
    assert six.stdin.splitlines() == [
        "route delete fd00:10:244:1::/64 dev eth0 table main",
        "neigh delete fd00:172:18::12 dev eth0",
    ]


def test_programs_are_taken_off_the_nodes_own_interfaces_once() -> None:
    node = NetState(
        node="n1",
        programs=(
            Program(id=1, name="cil_from_netdev-eth0", place="tc eth0 clsact/ingress", dev="eth0"),
            Program(id=2, name="cil_to_netdev-eth0", place="tc eth0 clsact/egress", dev="eth0"),
            Program(id=3, name="cil_to_host-cilium_net", place="tc cilium_net clsact/ingress", dev="cilium_net"),
            Program(id=4, name="cil_sock4_connect", place="cgroup cgroup_inet4_connect"),
            Program(id=5, name="mine", place="tc eth0 clsact/ingress", dev="eth0"),
        ),
    )
    commands = removal(node, values.FOOTPRINT, PODS, NICS)
    assert [command.argv[:3] for command in commands] == [("tc", "qdisc", "del"), ("bpftool", "cgroup", "detach")]
    assert commands[1].argv[-3:] == ("cgroup_inet4_connect", "id", "4")


def test_of_files_only_the_tops_are_named_and_what_is_mounted_stays() -> None:
    node = NetState(
        node="n1",
        files=("/opt/cni/bin/bridge", "/opt/cni/bin/cilium-cni", "/run/cilium/state", "/var/lib/cni/results/a"),
        pins=("/sys/fs/bpf/tc", "/sys/fs/bpf/tc/globals", "/sys/fs/bpf/tc/globals/cilium_lxc", "/sys/fs/bpf/other"),
    )
    (command,) = removal(node, values.FOOTPRINT, PODS, NICS)
    assert command.argv == (
        "rm", "-rf", "--", "/opt/cni/bin/cilium-cni", "/run/cilium/state", "/var/lib/cni/results/a", "/sys/fs/bpf/tc",
    )  # fmt: skip
