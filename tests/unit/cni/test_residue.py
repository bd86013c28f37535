"""What counts as left over: all that a bare node does not have, whether anybody knew of it or not."""

from __future__ import annotations

import pytest

from harness.cni.residue import bare, residue
from harness.model.netstate import Link, Neighbour, NetState, PolicyRule, Program, Route
from harness.model.spec import LabSpec

BARE_SAVED = """\
*filter
:INPUT ACCEPT
:OUTPUT ACCEPT
:KUBE-FIREWALL -
-A INPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -j DROP
COMMIT
"""
BARE = NetState(
    node="n1",
    links=(Link(name="lo"), Link(name="eth0", kind="veth"), Link(name="sit0")),
    routes=(
        Route(dst="default", dev="eth0", via="172.18.0.1"),
        Route(dst="172.18.0.0/16", dev="eth0"),
        Route(dst="fe80::/64", dev="eth0", family="inet6"),
    ),
    rules=(
        PolicyRule(priority=0, text="from all lookup local"),
        PolicyRule(priority=32766, text="from all lookup main"),
    ),
    firewall={"iptables": BARE_SAVED},
    tables=("ip filter", "ip nat"),
    pins=("/sys/fs/bpf/maps.debug",),
    files=("/opt/cni/bin/bridge", "/run/containerd", "/run/cilium", "/run/nri"),
    agents=("cnilab-probe/h1",),
)
EXPECTED = bare(LabSpec(), ["bridge", "portmap"], ["cnilab-probe/h1"], kube_proxy=False)


DUAL = bare(LabSpec(ip_family="dual"), ["bridge", "portmap"], ["cnilab-probe/h1"], kube_proxy=False)


def with_(**more: object) -> NetState:
    """The bare node with something added."""
    return BARE.model_copy(
        update={key: value if key == "firewall" else (*getattr(BARE, key), *value) for key, value in more.items()}  # type: ignore[misc]
    )


def test_a_bare_node_has_nothing_left() -> None:
    assert residue(BARE, EXPECTED) == []


def test_routes_of_the_links_themselves_are_a_bare_nodes_in_each_family_that_the_cluster_has() -> None:
    six = (
        Route(dst="default", dev="eth0", via="fd00:172:18::1", family="inet6"),
        Route(dst="fd00:172:18::/64", dev="eth0", family="inet6"),
    )
    assert residue(with_(routes=six), DUAL) == []
    assert [one.what for one in residue(with_(routes=six), EXPECTED)] == [
        "default via fd00:172:18::1 dev eth0",
        "fd00:172:18::/64 dev eth0",
    ]
    pods = Route(dst="fd00:10:244:1::/64", dev="eth0", via="fd00:172:18::12", family="inet6")
    assert [one.what for one in residue(with_(routes=(pods,)), DUAL)] == [
        "fd00:10:244:1::/64 via fd00:172:18::12 dev eth0"
    ]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"links": (Link(name="cni0", kind="bridge"),)}, "n1: link cni0"),
        ({"links": (Link(name="nobody-knows", kind="dummy"),)}, "n1: link nobody-knows"),
        ({"routes": (Route(dst="10.244.1.0/24", dev="eth0"),)}, "n1: route 10.244.1.0/24 dev eth0"),
        ({"routes": (Route(dst="default", dev="lo", table="2004"),)}, "n1: route default dev lo table 2004"),
        ({"rules": (PolicyRule(priority=9, text="from all lookup 2004"),)}, "n1: rule 9: from all lookup 2004"),
        ({"neighbours": (Neighbour(dst="172.18.0.12", dev="eth0"),)}, "n1: neighbour 172.18.0.12 dev eth0"),
        ({"tables": ("inet mine",)}, "n1: table inet mine"),
        ({"sets": ("cilium_node_set_v4",)}, "n1: set cilium_node_set_v4"),
        ({"transforms": ("state src 172.18.0.11",)}, "n1: transform state src 172.18.0.11"),
        ({"programs": (Program(id=1, name="cil_x", place="tc eth0 ingress"),)}, "n1: program cil_x at tc eth0 ingress"),
        ({"pins": ("/sys/fs/bpf/tc",)}, "n1: pin /sys/fs/bpf/tc"),
        ({"files": ("/etc/cni/net.d/05-cilium.conflist",)}, "n1: file /etc/cni/net.d/05-cilium.conflist"),
        ({"files": ("/opt/cni/bin/cilium-cni",)}, "n1: file /opt/cni/bin/cilium-cni"),
        ({"files": ("/var/lib/cni/networks/cbr0/10.244.0.2",)}, "n1: file /var/lib/cni/networks/cbr0/10.244.0.2"),
        ({"pods": ("default/web",)}, "n1: pod default/web"),
        ({"agents": ("kube-flannel/kube-flannel-ds-2lvfl",)}, "n1: pod kube-flannel/kube-flannel-ds-2lvfl"),
        ({"processes": ("kube-proxy",)}, "n1: process kube-proxy"),
    ],
)  # fmt: skip
def test_everything_that_a_bare_node_lacks_is_named(more: dict[str, object], told: str) -> None:
    assert [str(one) for one in residue(with_(**more), EXPECTED)] == [told]


def test_a_foreign_chain_and_a_foreign_rule_are_named() -> None:
    chain = BARE_SAVED.replace(":KUBE-FIREWALL -", ":KUBE-FIREWALL -\n:FLANNEL-FWD -")
    found = residue(BARE.model_copy(update={"firewall": {"iptables": chain}}), EXPECTED)
    assert [one.what for one in found] == ["iptables filter FLANNEL-FWD"]
    rule = BARE_SAVED.replace("-A INPUT -j", "-A INPUT -s 192.0.2.1/32 -j DROP\n-A INPUT -j")
    found = residue(BARE.model_copy(update={"firewall": {"iptables": rule}}), EXPECTED)
    assert [(one.kind, one.what) for one in found] == [
        ("filter rule", "iptables filter -A INPUT -s 192.0.2.1/32 -j DROP")
    ]


def test_rules_of_kube_proxy_count_only_where_it_is_not_wanted() -> None:
    saved = "*nat\n:PREROUTING ACCEPT\n:KUBE-SERVICES -\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n"
    node = BARE.model_copy(update={"firewall": {"iptables": saved}, "processes": ("kube-proxy",)})
    wanted = bare(LabSpec(), ["bridge"], ["cnilab-probe/h1"], kube_proxy=True)
    assert residue(node, wanted) == []
    assert {one.kind for one in residue(node, EXPECTED)} == {"chain", "filter rule", "process"}
