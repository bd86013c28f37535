"""Questions that decide nothing are asked again, and every attempt stays in the record."""

from __future__ import annotations

import pytest

from harness.model.records import Dump, Lookup, Observation, Query, Try
from harness.probes.plan import LookupProbe
from harness.steps.suite import again
from harness.steps.suite.again import Plan, balanced, detected, settled

ASKED = {
    place: [LookupProbe("spread.", "A", purpose=purpose) for purpose in ("service", "one-socket", "own-sockets")]
    for place in ("a", "c")
}


def look(place: str, purpose: str, lost: int, *, at: float = 0.0) -> Lookup:
    """A look with so many of 24 questions lost."""
    said = ["timeout"] * lost + ["NOERROR"] * (24 - lost)
    return Lookup(
        batch="B4", purpose=purpose, src=place, src_node="n1", name="spread.", qtype="A+AAAA", transport="udp",
        server="10.96.0.10", outcome="timeout" if lost else "ok",
        queries=tuple(Query(name="spread.", qtype="A", rcode=rcode, answers=()) for rcode in said),
        tries=(Try(t_ms=at, ms=1.0, outcome="timeout" if lost else "ok", errno=0),),
    )  # fmt: skip


def seen(lost: int) -> list[Observation]:
    """All looks of two places; what pod a loses from many sockets is given."""
    return [
        look(place, probe.purpose, lost if (place, probe.purpose) == ("a", "own-sockets") else 0)
        for place, probes in ASKED.items()
        for probe in probes
    ]


class Network:
    """Loses so many questions of separate sockets each time it is asked."""

    def __init__(self, *lost: int) -> None:
        self.lost = list(lost)
        self.asked: list[dict[str, list[str]]] = []

    def __call__(self, part: Plan) -> list[Observation]:
        self.asked.append({place: [probe.purpose for probe in probes] for place, probes in part.items()})
        lost = self.lost.pop(0)
        return [
            look(place, probe.purpose, lost if probe.purpose == "own-sockets" else 0, at=1.0)
            for place, probes in part.items()
            for probe in probes
        ]


def test_nothing_is_asked_again_where_no_more_is_lost_than_by_chance() -> None:
    assert settled(seen(2), ASKED, network := Network()) == seen(2)
    assert network.asked == []


def test_only_the_place_that_lost_is_asked_again_and_only_its_sockets() -> None:
    network = Network(0)
    found = settled(seen(5), ASKED, network)
    assert network.asked == [{"a": ["one-socket", "own-sockets"]}]
    assert [(one.src, one.purpose) for one in found if isinstance(one, Lookup)] == [
        (one.src, one.purpose) for one in seen(5) if isinstance(one, Lookup)
    ]
    tries = {
        (one.src, one.purpose): [[t.t_ms, t.outcome] for t in one.tries] for one in found if isinstance(one, Lookup)
    }
    assert tries["a", "own-sockets"] == [[0.0, "timeout"], [1.0, "ok"]]
    assert tries["c", "own-sockets"] == [[0.0, "ok"]]


def test_loss_that_stays_is_asked_for_twice() -> None:
    network = Network(7)
    found = settled(seen(5), ASKED, network)
    last = next(one for one in found if isinstance(one, Lookup) and (one.src, one.purpose) == ("a", "own-sockets"))
    assert (len(network.asked), len(last.tries)) == (1, 2)
    assert sum(query.rcode == "timeout" for query in last.queries) == 7


def test_a_server_that_is_silent_is_asked_once() -> None:
    network = Network()
    settled(seen(24), ASKED, network)
    assert network.asked == []


STORE = "/var/lib/cni/networks/cbr0"


def books(leases: list[str], pods: list[str], unread: str = "") -> list[Dump]:
    """A node's lease store and its sandboxes."""
    store = {f"{STORE}/{one}": "id" for one in (*leases, "lock", "last_reserved_ip.0")}
    eth0 = [{"interfaces": [{"name": "eth0", "addresses": [f"{one}/24", "fe80::1/64"]}]} for one in pods]
    data = {"leases": store, "sandboxes": [*eth0, {"host_network": True, "ip": "172.18.0.11"}]}
    read = {what: {"error": "permission denied"} if what == unread else data[what] for what in data}
    return [Dump(batch="B0", vantage="node", place="n1", node="n1", what=what, data=read[what]) for what in read]


class Node:
    """Shows the next of several states each time it is asked; the last one stays."""

    def __init__(self, *states: list[Dump]) -> None:
        self.states = list(states)
        self.looks = 0

    def __call__(self) -> list[Dump]:
        self.looks += 1
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


def test_books_that_agree_are_read_once() -> None:
    node = Node(books([], []))
    seen = books(["10.244.0.2"], ["10.244.0.2"])
    assert balanced(seen, node, STORE) == seen
    assert node.looks == 0


@pytest.mark.parametrize("between", [(["10.244.0.2", "10.244.0.3"], ["10.244.0.2"]), (["10.244.0.2"], [])])
def test_a_pod_that_is_just_made_or_removed_is_no_leak(between: tuple[list[str], list[str]]) -> None:
    then = books(["10.244.0.2"], ["10.244.0.2"])
    node = Node(then)
    assert balanced(books(*between), node, STORE)[-2:] == then
    assert node.looks == 1


def test_what_differs_at_every_look_is_a_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "BOOKS", 0.5)
    leaked = books(["10.244.0.2", "10.244.0.9"], ["10.244.0.2"])
    node = Node(leaked)
    assert balanced(leaked, node, STORE)[-2:] == leaked
    assert node.looks >= 2


@pytest.mark.parametrize("what", ["leases", "sandboxes"])
def test_what_cannot_be_read_is_not_asked_for_again(what: str) -> None:
    node = Node(books([], []))
    balanced(books(["10.244.0.2"], [], unread=what), node, STORE)
    assert node.looks == 0


def links(*flags: str) -> list[Dump]:
    """A node's links; a new pod's has a link-local address with these flags."""
    new = {"family": "inet6", "local": "fe80::2", "scope": "link", **dict.fromkeys(flags, True)}
    rows = [{"ifname": "cni0", "addr_info": [{"family": "inet", "local": "10.244.0.1"}]}, {"addr_info": [new]}]
    return [Dump(batch="B0", vantage="node", place="n1", node="n1", what="addr", data=rows)]


def test_a_link_that_just_came_up_is_looked_at_until_its_address_is_its_own() -> None:
    node = Node(links("tentative"), links())
    assert detected(links("tentative"), node)[-1:] == links()
    assert node.looks == 2


@pytest.mark.parametrize("flags", [(), ("tentative", "dadfailed"), ("dynamic",)])
def test_addresses_that_are_decided_are_read_once(flags: tuple[str, ...]) -> None:
    node = Node(links())
    assert detected(links(*flags), node) == links(*flags)
    assert node.looks == 0


def test_an_address_that_stays_tentative_is_a_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "DETECTED", 0.5)
    node = Node(links("tentative"))
    assert detected(links("tentative"), node)[-1:] == links("tentative")
    assert node.looks >= 2
