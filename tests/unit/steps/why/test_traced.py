"""What a trace adds to the answer on one flow: a stored cluster, and packets as its kernels would tell of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from conformance.netfilter import Flow
from conformance.path.passages import Passage
from conformance.path.places import world
from harness.steps.suite.trace import End
from harness.steps.why.answer import Answer, judge, ports_of, with_trace
from harness.steps.why.ends import Virtual
from harness.steps.why.live import Traced
from harness.steps.why.traced import aimed, route_of, spots_of
from tests.unit.conformance.broken_worlds import BROKEN
from tests.unit.steps.why.test_answer import end, seen, tried

PLACES = ("a", "n1", "n2", "c")


def located(there: Any, name: str) -> End:
    """A pod with its node."""
    found = end(there, name)
    node: Any = SimpleNamespace(name=there.inventory.by_name[name].node, runner=f"runs on {name}'s node")
    runner: Any = f"runs in {name}"
    sandbox: Any = SimpleNamespace(key=name)  # in a stored cluster, pods are known by their names alone
    return End(name, found.address, node, sandbox, runner)


def passage(place: str, hook: str, packet: str, direction: str = "request", **facts: Any) -> Passage:
    return Passage(place, direction, hook, "", "eth0", packet, packet, **{"verdict": "passed", **facts})  # type: ignore[arg-type]


def traced(*passages: Passage, untraced: tuple[str, ...] = ()) -> Traced:
    return Traced(passages, {name: {} for name in PLACES if name not in untraced}, dict.fromkeys(untraced, "no nft"))


def answered(broken: tuple[str, ...], outcome: str, found: Traced, proto: str = "tcp") -> Answer:
    there = seen(*broken)
    sender, receiver = located(there, "a"), located(there, "c")
    flow = Flow(sender.address, receiver.address, proto=proto)
    known = judge(there, (sender, "a"), receiver, flow, tried(outcome), None)
    return with_trace(known, world(there), (sender, [receiver]), flow, found)


def packet(there: Any = None, proto: str = "tcp") -> str:
    there = there or seen()
    return str(Flow(located(there, "a").address, located(there, "c").address, proto=proto))


def test_of_a_flow_that_is_answered_only_what_was_seen_is_added() -> None:
    found = answered((), "ok", traced(passage("n1", "forward", packet())))
    assert found.fine
    assert found.causes == ()
    assert found.traced is not None


def test_a_rule_that_no_walk_has_found_is_named_with_its_commands() -> None:
    """A rule whose conditions nobody evaluates."""
    drop: dict[str, Any] = {
        "verdict": "dropped",
        "table": "inet mine",
        "chain": "cut",
        "rule": "meta cgroup 7 drop",
        "handle": 9,
    }
    found = answered((), "timeout", traced(passage("n1", "forward", packet(), **drop)))
    assert not found.fine
    (cause,) = found.causes
    assert (cause.key, cause.kind, cause.confidence) == ("n1/nft/inet mine/cut/handle 9", "seen.drops", "certain")
    assert cause.sentence == f"n1 drops {packet()} at forward: table inet mine, chain cut: meta cgroup 7 drop"
    assert cause.look == "nft -a list chain inet mine cut"
    assert cause.mend == "nft delete rule inet mine cut handle 9"


def test_a_rule_is_known_by_its_number_where_its_chain_was_read() -> None:
    there = seen("drop")
    place = world(there).places["n1"]
    assert place.rules is not None
    broken = BROKEN["drop"][2]
    _, _, table, chain, number = broken.split("/")
    rule = place.rules.ruleset.chains[(*table.split(" "), chain)][int(number) - 1]  # type: ignore[index]
    drop: dict[str, Any] = {
        "verdict": "dropped",
        "table": table,
        "chain": chain,
        "rule": "drop",
        "handle": int(rule["handle"]),
    }
    found = answered(("drop",), "timeout", traced(passage("n1", "forward", packet(there), **drop)))
    assert found.causes[0].key == broken


def test_what_is_certain_of_the_same_place_says_more_than_where_packets_end() -> None:
    kept = [passage("a", "postrouting", packet()), passage("n1", "prerouting", packet())]
    found = answered(("route",), "timeout", traced(*kept))
    assert [one.key for one in found.causes] == [BROKEN["route"][2]]


def test_what_would_stop_packets_elsewhere_than_where_they_end_is_not_certain() -> None:
    """The route is broken at n1, but no packet ever comes to n1."""
    found = answered(("route",), "timeout", traced())
    assert [(one.kind, one.confidence) for one in found.causes] == [
        ("seen.unsent", "certain"),
        ("route.missing", "possible"),
    ]
    assert found.causes[1].sentence.endswith("(not certain: the packets ended elsewhere)")


@pytest.mark.parametrize("untraced", [PLACES, ("a",), ("a", "n1")])
def test_where_the_sender_was_not_traced_nothing_is_concluded(untraced: tuple[str, ...]) -> None:
    """A machine without nft, or with one that has no interactive mode."""
    found = answered((), "timeout", traced(untraced=untraced))
    assert (found.fine, found.causes) == (False, ())
    assert found.traced is not None
    assert set(found.traced.untraced) == set(untraced)


def test_nobody_has_to_answer_a_datagram() -> None:
    arrived = [passage("n1", "forward", packet(proto="udp")), passage("c", "input", packet(proto="udp"))]
    found = answered((), "timeout", traced(*arrived), "udp")
    assert (found.fine, found.causes, found.arrives) == (True, (), None)
    assert answered((), "timeout", traced(*arrived, passage("a", "input", "x", "reply")), "udp").arrives
    lost = answered((), "timeout", traced(passage("n1", "forward", packet(proto="udp"), verdict="lost")), "udp")
    assert (lost.fine, [one.kind for one in lost.causes], lost.arrives) == (False, ["seen.vanishes"], False)


def test_the_route_is_that_of_the_walk_without_places_that_were_not_traced() -> None:
    there = seen()
    ends = (located(there, "a"), [located(there, "c")])
    flow = Flow(ends[0].address, ends[1][0].address)
    ways = judge(there, (ends[0], "a"), ends[1][0], flow, None, None).ways
    assert route_of(ways, ends, traced()) == PLACES
    assert route_of((), ends, traced()) == PLACES
    assert route_of(ways, ends, traced(untraced=("n2",))) == ("a", "n1", "c")


def test_the_endpoint_that_was_hit_is_the_end_of_the_route() -> None:
    there = seen()
    sender, far, near = (located(there, name) for name in ("a", "c", "b"))
    hit = passage("n1", "prerouting", f"{sender.address} > {near.address}:8080/tcp")
    found = Traced((hit,), {name: {} for name in (*PLACES, "b")})
    assert route_of((), (sender, [far, near]), found) == ("a", "n1", "b")


def test_all_addresses_that_machines_may_give_a_packet_are_sources_and_targets_are_none() -> None:
    there = seen()
    sender, receiver = end(there, "a"), end(there, "c")
    aim = aimed(world(there), "a", [receiver], Flow(sender.address, receiver.address), [])
    nodes = {node.address for node in there.inventory.nodes}
    assert {sender.address, *nodes} <= set(aim.sources)
    assert receiver.address not in aim.sources
    assert not [one for one in aim.sources if one.startswith("127.")]
    assert (aim.targets, aim.proto, aim.ports) == ((receiver.address,), "tcp", (8080,))


def test_packets_are_traced_at_both_ends_on_their_nodes_and_outside() -> None:
    there = seen()
    ends = [located(there, "a"), located(there, "c"), End("8.8.8.8", "8.8.8.8", None, None, None)]
    lab: Any = SimpleNamespace(router=SimpleNamespace(name="router", runner="r"), far=None)
    names = [one.name for one in spots_of(lab, ends)]
    assert names == ["a", "c", "n1", "n2", "router"]


def test_ports_of_endpoints_are_those_of_the_services_own_slices() -> None:
    def piece(service: str, namespace: str, port: int) -> dict[str, Any]:
        labels = {"kubernetes.io/service-name": service}
        return {"metadata": {"namespace": namespace, "labels": labels}, "ports": [{"port": port}, {"port": None}]}

    slices = [
        piece("web", "shop", 8080),
        piece("web", "other", 1),
        piece("db", "shop", 2),
        {"metadata": {"namespace": "shop"}},
    ]
    known: Any = SimpleNamespace(slices=slices)
    virtual = Virtual({"metadata": {"name": "web", "namespace": "shop"}}, {"port": 80}, "10.96.0.9")
    assert ports_of(known, virtual) == (8080,)
    assert ports_of(known, None) == ()
