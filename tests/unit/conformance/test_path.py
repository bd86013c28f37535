"""Walks through stored clusters: healthy ones have nothing wrong, and what is broken is named by its key."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Iterator

import pytest

from conformance.causes.explain import explain
from conformance.causes.flows import asked
from conformance.causes.library import kinds
from conformance.context import Context
from conformance.flows import outside
from conformance.netfilter import Flow
from conformance.path.places import world
from conformance.path.walk import walk
from harness.model.cause import Cause
from harness.model.records import Leg, Result
from tests.unit.conformance import stored
from tests.unit.conformance.broken_worlds import (
    BROKEN,
    NETWORK,
    SHARE,
    A,
    C,
    of_pod,
    queue,
    rule,
    sysctl,
    table,
    to,
)
from tests.unit.conformance.stored import Change, Dumps

MOVED = frozenset({"itp-local", "moving"})
"""Services whose endpoints depend on who asks, or change meanwhile."""


def flows(there: Context) -> Iterator[tuple[str, Flow, str]]:
    """Every kind of packet of the model: sender, packet, endpoint."""
    pods = [site for site in there.inventory.pods if site.ip]
    nodes = there.inventory.nodes
    for pod, other in itertools.permutations(pods, 2):
        yield from ((pod.name, Flow(pod.ip, other.ip, proto=proto), "") for proto in ("tcp", "udp", "icmp"))
    for pod, node in itertools.product(pods, nodes):
        yield pod.name, Flow(pod.ip, node.address), ""
        yield node.name, Flow("", pod.ip), ""
    for pod, address in itertools.product(pods, outside(there.family)):
        yield pod.name, Flow(pod.ip, address), ""
    for node, peer in itertools.permutations(nodes, 2):
        yield node.name, Flow("", peer.address), ""
    for pod, service in itertools.product(pods, there.inventory.services):
        if service.cluster_ip not in {"", "None"} and service.endpoint_ips and service.role not in MOVED:
            port = service.ports[0]
            for endpoint in service.endpoint_ips[:2]:
                yield pod.name, Flow(pod.ip, service.cluster_ip, proto=port.proto, dport=port.port), endpoint


@pytest.mark.parametrize("name", stored.names())
def test_nothing_is_wrong_with_a_healthy_cluster(name: str) -> None:
    whole = stored.context(name)
    walked = 0
    for family in whole.inventory.families:
        there = whole.of(family)
        places = world(there)
        for source, flow, prefer in flows(there):
            taken = walk(places, source, flow, prefer=prefer)
            assert not taken.troubles, (family, source, str(flow), taken.troubles)
            assert not taken.doubts, (family, source, str(flow), taken.doubts)
            assert taken.answered or taken.unknown, (family, source, str(flow))
            walked += 1
    assert walked > 80


def test_walks_through_a_network_without_programs_end_where_they_should() -> None:
    """Each is answered: none ends because something cannot be evaluated."""
    there = stored.context(NETWORK).of("ipv4")
    places = world(there)
    assert all(walk(places, source, flow, prefer=prefer).answered for source, flow, prefer in flows(there))


def result(check: str, *legs: Leg) -> Result:
    """A verdict with these legs."""
    return Result.model_validate(
        {
            "id": check,
            "title": "t",
            "area": "reach",
            "level": "M",
            "statement": "",
            "gates": {},
            "status": "fail" if any(leg.status == "fail" for leg in legs) else "pass",
            "legs": [leg.model_dump() for leg in legs],
        }
    )


def failed(leg: str) -> Leg:
    """A leg that got no answer."""
    return Leg(leg=leg, status="fail", reason="timeout", statement=f"{leg} got no answer")


def told(change: Change, leg: str, check: str = "model.pod-pod.cross-node") -> tuple[Cause, ...]:
    """Causes that are told when a leg fails on a cluster that was changed."""
    return explain(stored.context(NETWORK, change), [result(check, failed(leg))])


@pytest.mark.parametrize("name", BROKEN)
def test_what_was_broken_is_named_first(name: str) -> None:
    change, leg, key = BROKEN[name]
    causes = told(change, leg)
    assert causes
    assert fnmatch.fnmatchcase(causes[0].key, key), [one.key for one in causes]
    assert causes[0].confidence == "certain"
    assert causes[0].follows == ("model.pod-pod.cross-node",)
    for text in (causes[0].sentence, causes[0].look):
        assert text
        assert "{" not in text
        assert "…" not in text


def test_a_rule_with_a_condition_that_is_not_understood_may_be_the_cause() -> None:
    limit = {"match": {"op": "<", "left": {"numgen": {"mode": "random", "mod": 100, "offset": 0}}, "right": 4}}
    causes = told(rule("n1", "forward", to(C), limit, {"drop": None}), "a>c/udp", "model.loss")
    assert [(one.key, one.confidence) for one in causes] == [("n1/nft/inet own/c/1", "possible")]


def test_a_queue_that_may_drop_is_the_cause_of_what_nothing_certain_explains() -> None:
    causes = told(queue("n1", "flannel.1", "tbf"), "a>c/tcp")
    assert [(one.key, one.confidence) for one in causes] == [("n1/queue/flannel.1", "possible")]
    assert causes[0].sentence.startswith("the queue tbf of flannel.1 on n1 may drop")


@pytest.mark.parametrize("kind", ["noqueue", "fq_codel", "pfifo"])
def test_a_queue_that_only_orders_packets_is_no_cause(kind: str) -> None:
    causes = told(queue("n1", "flannel.1", kind), "a>c/tcp")
    assert [one.confidence for one in causes] == ["unexplained"]


def test_a_neighbour_that_is_known_need_not_be_asked_for() -> None:
    """A kernel that answers no ARP stops nobody who has its MAC already."""
    causes = told(sysctl("n1", "net.ipv4.conf.cni0.arp_ignore", "8"), "a>c/tcp")
    assert [one.confidence for one in causes] == ["unexplained"]


def test_a_bridge_that_answers_for_others_makes_an_onlink_route_a_way() -> None:
    def change(dumps: Dumps) -> None:
        BROKEN["onlink"][0](dumps)
        sysctl("n1", "net.ipv4.conf.cni0.proxy_arp", "1")(dumps)

    assert "a/route/10.244.0.0/16" not in {one.key for one in told(change, "a>c/tcp")}


def test_what_no_kernel_explains_is_said_as_it_was_seen() -> None:
    causes = explain(stored.context(NETWORK), [result("model.identity", failed("a>c/tcp"))])
    assert [(one.confidence, one.sentence) for one in causes] == [("unexplained", "a>c/tcp got no answer")]


def test_nothing_is_explained_where_nothing_failed() -> None:
    green = result("model.identity", Leg(leg="a>c/tcp", status="pass"))
    assert explain(stored.context(NETWORK, BROKEN["route"][0]), [green]) == ()


def test_what_a_packet_that_passed_contradicts_is_not_certain() -> None:
    """The rule stops TCP from b to c as well, and that passed: the walk does not know something."""
    change = rule("n1", "forward", to(C), {"drop": None})
    red = result("model.identity", failed("a>c/udp"), Leg(leg="b>c/tcp", status="pass"))
    (cause,) = explain(stored.context(NETWORK, change), [red])
    assert cause.confidence == "possible"
    assert cause.sentence.endswith("if its conditions hold")


def test_state_that_says_the_same_follows_from_the_cause() -> None:
    change, leg, key = BROKEN["route"]
    found = [result("model.identity", failed(leg)), result("node.routes", failed(f"n1:{SHARE}"))]
    (cause,) = explain(stored.context(NETWORK, change), found)
    assert (cause.key, cause.follows, cause.legs) == (key, ("model.identity", "node.routes"), 2)


def test_states_that_follow_from_each_other_are_all_told() -> None:
    found = [result(name, failed("a")) for name in ("model.pod-ip.agrees", "model.pod-ip.in-range", "dual.pod-ips")]
    causes = explain(stored.context(NETWORK), found)
    assert {one.key for one in causes} >= {"model.pod-ip.agrees[a]"}
    assert {name for one in causes for name in one.follows} == {one.id for one in found}


def test_what_follows_from_a_state_is_told_with_it() -> None:
    found = [result("cni.conf.active", failed("n1/json")), result("cni.add.result", failed("n1/add"))]
    (cause,) = explain(stored.context(NETWORK), found)
    assert (cause.key, cause.follows) == ("cni.conf.active[n1/json]", ("cni.conf.active", "cni.add.result"))


def test_every_kind_can_be_told() -> None:
    """Templates ask for nothing that a format string cannot have, and end without a full stop."""
    for kind in kinds().values():
        for text in (kind.sentence, kind.look, kind.mend):
            assert text.format_map(dict.fromkeys(FACTS, "x")) or not text
        assert not kind.sentence.endswith(".")


FACTS = (
    "place", "share", "address", "route", "wanted", "rule", "number", "flow", "hook", "to", "show", "delete", "device",
    "ttl", "service", "key", "way", "dialled", "source", "mtu", "length", "port", "bridge", "state", "other", "pod",
    "asker", "mac", "right", "owner", "why", "peer", "word", "mine", "theirs", "note", "what", "namespace", "program",
    "pid", "table", "vtep", "usual", "queue", "chain", "counted", "next", "carried",
)  # fmt: skip


@pytest.mark.parametrize(
    ("check", "leg", "expected"),
    [
        ("model.ports", "a>c/tcp/443", [("a", "10.244.1.4 443 tcp 60")]),
        ("mtu.exact", "a>c/1450", [("a", "10.244.1.4 8080 udp 1450")]),
        ("model.pod-node.remote", "a>h2/udp", [("a", "172.18.0.12 8080 udp 60")]),
        ("model.node-pod.local", "h1>a/tcp", [("n1", "10.244.0.4 8080 tcp 60")]),
        ("dns.tcp", "a?spread.cnilab-probe.svc.cluster.local./A/tcp", [("a", "10.96.0.10 53 tcp 60")]),
        ("mtu.wire", "n1:eth0/a<>c", [("a", "10.244.1.4 8080 tcp 60"), ("c", "10.244.0.4 8080 tcp 60")]),
        ("node.routes", "n1:10.244.1.0/24", []),
        ("model.pod-ip.unique", "a", []),
        ("mtu.plus-one", "a>b/1451", []),
    ],
)
def test_a_leg_says_which_packet_it_is_about(check: str, leg: str, expected: list[tuple[str, str]]) -> None:
    found = [
        (one.source, f"{one.flow.dst} {one.flow.dport} {one.flow.proto} {one.flow.length}")
        for one in asked(stored.context(NETWORK), check, leg)
    ]
    assert found == expected


@pytest.mark.parametrize("target", ["REDIRECT --to-ports 15001", "DNAT --to-destination 127.0.0.6:15006"])
def test_what_a_sidecar_takes_is_not_known_and_nobodys_fault(target: str) -> None:
    rules = table("nat", f"-A OUTPUT -p tcp -j {target}")
    there = stored.context(NETWORK, of_pod("a", rules)).of("ipv4")
    taken = walk(world(there), "a", Flow(A, C))
    assert not taken.troubles
    assert taken.unknown == (
        "a program of a itself takes what iptables, table nat, chain OUTPUT, rule 1 redirects to it",
    )


def test_rules_of_pods_that_let_pass_change_nothing() -> None:
    def all_pods(dumps: Dumps) -> None:
        for name in "abcd":
            of_pod(name, table("filter", "-A INPUT -p tcp -j ACCEPT", "-A OUTPUT -d 198.18.0.0/15 -j DROP"))(dumps)

    there = stored.context(NETWORK, all_pods).of("ipv4")
    places = world(there)
    assert all(walk(places, source, flow, prefer=prefer).answered for source, flow, prefer in flows(there))


@pytest.mark.parametrize(
    ("network", "leg", "mend"),
    [
        (NETWORK, "a>c/tcp", "ip route add {share} via {first} dev flannel.1 onlink"),
        (NETWORK, "a>c/tcp/ipv6", "ip -6 route add {share} via {first} dev flannel-v6.1 onlink"),
        ("flannel-host-gw-dual", "a>c/tcp", "ip route add {share} via {node} dev eth0"),
        ("bridge-dual", "a>c/tcp/ipv6", "ip -6 route add {share} via {node} dev eth0"),
    ],
)
def test_a_missing_route_is_mended_with_the_route_that_the_network_makes(network: str, leg: str, mend: str) -> None:
    there = stored.context(network)
    source, target = there.inventory.by_name["a"].node, there.inventory.by_name["c"].node
    peer = there.of("ipv6" if leg.endswith("ipv6") else "ipv4").inventory.node(target)

    def change(dumps: Dumps) -> None:
        dumps[source, "route"] = [row for row in dumps[source, "route"] if row.get("dst") != peer.pod_cidr]

    found = explain(stored.context(network, change), [result("model.pod-pod.cross-node", failed(leg))])
    first = peer.pod_cidr.partition("/")[0]
    assert found[0].mend == mend.format(share=peer.pod_cidr, first=first, node=peer.address)


def test_what_is_declared_or_only_recorded_is_no_failure_to_be_explained() -> None:
    legs = (Leg(leg="n1/diff", status="fail", reason="left", statement="a second ADD left objects behind"),)
    declared = result("cni.add.conflict", *legs).model_copy(update={"status": "pass", "reason": "deviation"})
    assert explain(stored.context(NETWORK), [declared]) == ()
    red = result("model.reach", failed("a>c/tcp"))
    assert [one.follows for one in explain(stored.context(NETWORK), [declared, red])] == [("model.reach",)]
