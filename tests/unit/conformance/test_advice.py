"""Commands to type next have no gaps: the leg that failed fills them, or they are not shown."""

from __future__ import annotations

import pytest

from conformance.advice import advice
from conformance.legs import failed
from conformance.registry import CHECKS
from harness.model.gaps import gaps
from tests.unit.conformance import simdual, simlab
from tests.unit.conformance.broken import CASES, DUAL_CASES, Broken

KNOWN = {
    "api", "bridge", "destination", "dns", "host_veth", "leases", "name", "nic", "node", "overlay", "pid", "port",
    "size", "source",
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}: {case.what}")
def test_a_failed_check_says_whole_commands(case: Broken) -> None:
    result = simlab.verdict(simlab.changed(*case.changes), case.check)
    assert result.next
    assert [command for command in result.next if gaps(command)] == []


@pytest.mark.parametrize("case", DUAL_CASES, ids=lambda case: f"{case.check}: {case.what}")
def test_so_does_one_of_two_families(case: Broken) -> None:
    result = simlab.verdict(simdual.changed("dual", case.family, *case.changes), case.check)
    assert result.next
    assert [command for command in result.next if gaps(command)] == []


@pytest.mark.parametrize(
    ("check", "leg", "command"),
    [
        ("model.pod-pod.cross-node", "a>c/tcp", "ip route get 10.244.1.2 from 10.244.0.2 iif cni0"),
        ("node.overlay", "n1>n2/fdb", "bridge fdb show dev flannel.1"),
        ("node.underlay", "n1>n2/tcp", "ping 172.18.0.12"),
        ("node.path-mtu", "n1>n2", "ping -M do -s 1472 172.18.0.12"),
        ("model.localhost", "a>localhost/tcp", "nsenter -t 100 -n ip link show lo  # on n1"),
        ("mtu.wire", "n1:eth9/a<>c", "tcpdump -ni eth9 'ip[6:2] & 0x3fff != 0'"),
        ("model.no-nat.wire", "c>a/tcp@c", "tcpdump -ni eth0 -w f.pcap"),
        ("svc.hairpin", "a>sole-a/tcp", "bridge -d link show dev vetha"),
        ("svc.nodeport", "router>nodeport@n1/tcp", "iptables-save -t nat | grep -w 30004"),
        ("dns.service", "a?x.y.svc.z./A/udp", "dig @10.96.0.10 x.y.svc.z."),
        ("dns.srv", "a?_web._tcp.x.y./SRV/udp", "dig @10.96.0.10 _web._tcp.x.y. SRV"),
        ("dns.search", "a?spread/A+AAAA/libc", "dig @10.96.0.10 +search spread"),
        ("ipam.churn", "n1", "ls /var/lib/cni/networks/cbr0"),
    ],
)
def test_the_leg_that_failed_fills_a_gap(check: str, leg: str, command: str) -> None:
    assert command in advice(simlab.green(), CHECKS[check], [failed(leg, "timeout", "")])


@pytest.mark.parametrize(
    ("check", "leg", "command"),
    [
        ("model.no-nat.cross-node", "a>c/tcp/ipv6", "conntrack -L -s fd00:10:244::2"),
        ("model.no-nat.cross-node", "a>c/tcp/ipv6", "ip6tables -t nat -S POSTROUTING"),
        ("model.no-nat.cross-node", "a>c/tcp", "iptables -t nat -S POSTROUTING"),
        ("node.path-mtu", "n1>n2/ipv6", "ping -M do -s 1452 fd00:172:18::12"),
        ("v6.reach", "a>c/tcp", "ip -6 route get fd00:10:244:1::2"),
    ],
)
def test_a_leg_over_ipv6_has_addresses_and_programs_of_it(check: str, leg: str, command: str) -> None:
    run = simdual.changed("dual", "ipv6")
    assert command in advice(run, CHECKS[check], [failed(leg, "timeout", "")])


def test_a_command_whose_gap_nothing_fills_is_left_out() -> None:
    told = advice(simlab.green(), CHECKS["svc.endpoint-change"], [failed("moved", "timeout", "")])
    assert told == ("kubectl get endpointslice -A", "kubectl -n kube-system logs ds/kube-proxy")


def test_without_a_leg_what_belongs_to_the_cluster_is_said() -> None:
    told = advice(simlab.green(), CHECKS["model.pod-pod.cross-node"], ())
    assert told == ("bridge fdb show dev flannel.1", "ip neigh show dev flannel.1")


def test_gaps_are_those_that_something_fills() -> None:
    assert {name for check in CHECKS.values() for command in check.next for name in gaps(command)} <= KNOWN
