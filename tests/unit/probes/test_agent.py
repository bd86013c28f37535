from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from harness.model.records import Burst, Churn, Exchange, Lookup, Rung
from harness.probes.agent import (
    BindProbe,
    BurstProbe,
    ChurnProbe,
    ExchangeProbe,
    LookupProbe,
    Prober,
    RungProbe,
    Target,
    run_plans,
)
from harness.runner import ConnectionLostError
from tests.unit.probes.fake import Answer, FakeRunner


def site(name: str, answer: Answer, ip: str = "10.244.1.2") -> Prober:
    return Prober(name, f"n-{name}", ip, FakeRunner(answer), "/responder")


def answering(**fields: Any) -> Answer:
    """An agent that gives the same line for every probe."""

    def answer(_argv: tuple[str, ...], plan: str) -> str:
        return "\n".join(
            json.dumps({"id": probe["id"], "kind": probe["kind"], **fields}) for probe in json.loads(plan)["probes"]
        )

    return answer


C = Target("c", "n2", "10.244.2.2")


def test_an_exchange_says_who_asked_whom_and_what_the_other_side_saw() -> None:
    a = site(
        "a",
        answering(
            outcome="ok", source="10.244.1.2:4000", token="c", peer="10.244.1.2:4000", local="10.244.2.2:8080", ttl=62,
            mss=1410, received=64, sent=64, intact=True, nonce="00ff",
            tries=[
                {"t_ms": 0, "ms": 800, "outcome": "timeout", "errno": 110},
                {"t_ms": 800, "ms": 1, "outcome": "ok", "errno": 0},
            ],
        ),
    )  # fmt: skip
    (got,) = run_plans({a: [ExchangeProbe(C, purpose="mesh")]}, batch="B1")
    assert isinstance(got, Exchange)
    assert (got.src, got.src_node, got.dst, got.dst_node, got.dial) == ("a", "n-a", "c", "n2", "10.244.2.2:8080")
    assert (got.outcome, got.token, got.peer, got.ttl, got.mss) == ("ok", "c", "10.244.1.2:4000", 62, 1410)
    assert got.attempts == 2
    assert [one.outcome for one in got.tries] == ["timeout", "ok"]


def test_every_site_runs_its_agent_once_whatever_the_number_of_probes() -> None:
    sites = [site(name, answering(outcome="ok")) for name in "abc"]
    plans = {one: [ExchangeProbe(other.target()) for other in sites] * 10 for one in sites}
    assert len(run_plans(plans, batch="B1")) == 90
    for one in sites:
        assert isinstance(one.runner, FakeRunner)
        assert one.runner.calls == [("/responder", "run")]


def test_sites_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=10)

    def answer(argv: tuple[str, ...], plan: str) -> str:
        both.wait()
        return str(answering(outcome="ok")(argv, plan))

    got = run_plans({site("a", answer): [ExchangeProbe(C)], site("b", answer): [ExchangeProbe(C)]}, batch="B1")
    assert [one.outcome for one in got if isinstance(one, Exchange)] == ["ok", "ok"]


def test_the_agent_gets_deadline_retries_and_everything_about_a_probe() -> None:
    plans: list[dict[str, Any]] = []

    def answer(argv: tuple[str, ...], plan: str) -> str:
        plans.append(json.loads(plan))
        return str(answering(outcome="ok")(argv, plan))

    run_plans(
        {
            site("a", answer): [
                ExchangeProbe(C, "udp", size=1200, source_port=5000, expect="timeout"),
                ExchangeProbe(C, "icmp"),
                ExchangeProbe(Target("v6", "", "2001:db8::1")),
                RungProbe(C, 1450),
                BindProbe(22),
                LookupProbe("www.outside.test.", "AAAA", "tcp", "10.96.0.10", edns=1232),
                LookupProbe("www.outside.test.", "A+AAAA", times=12, apart=True),
            ]
        },
        batch="B1",
        deadline=0.5,
        retries=0,
    )
    (plan,) = plans
    assert (plan["deadline_ms"], plan["retries"]) == (500, 0)
    assert plan["probes"][0] == {
        "id": "0", "kind": "exchange", "proto": "udp", "dial": "10.244.2.2:8080", "size": 1200, "source_port": 5000,
        "expect": "timeout", "connect": False,
    }  # fmt: skip
    assert [probe.get("dial") for probe in plan["probes"][1:5]] == [
        "10.244.2.2", "[2001:db8::1]:8080", "10.244.2.2:8080", ":22",
    ]  # fmt: skip
    assert plan["probes"][5]["edns"] == 1232
    assert [probe.get("times") for probe in plan["probes"][5:]] == [None, 12]
    assert plan["probes"][6]["apart"]


def test_over_ipv6_the_agent_gets_transport_and_address_and_the_record_says_the_family() -> None:
    asked: list[dict[str, Any]] = []

    def answer(argv: tuple[str, ...], plan: str) -> str:
        asked.extend(json.loads(plan)["probes"])
        return str(answering(outcome="ok")(argv, plan))

    both = ("10.244.1.2", "fd00:10:244:1::2")
    a = Prober("a", "n1", both[0], FakeRunner(answer), "/responder", both)
    target = Target("c", "n2", "fd00:10:244:2::2")
    seen = run_plans(
        {
            a: [
                ExchangeProbe(target, "tcp6"),
                ExchangeProbe(target, "icmp6"),
                BindProbe(80, "udp6", "::"),
                BindProbe(80),
                ExchangeProbe(C, "icmp"),
                RungProbe(target, 1280),
            ]
        },
        batch="B1",
    )
    dials = ["[fd00:10:244:2::2]:8080", "fd00:10:244:2::2", "[::]:80", ":80", "10.244.2.2", "[fd00:10:244:2::2]:8080"]
    assert [probe["dial"] for probe in asked] == dials
    assert [probe.get("proto") for probe in asked] == ["tcp", "icmp", "udp", "tcp", "icmp", None]
    told = [(one.proto, one.src_ip, one.dial) for one in seen if isinstance(one, Exchange)]
    assert told == [
        ("tcp6", both[1], dials[0]),
        ("icmp6", both[1], dials[1]),
        ("udp6", both[1], dials[2]),
        ("tcp", both[0], "*:80"),
        ("icmp", both[0], dials[4]),
    ]
    assert isinstance(seen[5], Rung)
    assert seen[5].family == "ipv6"


def test_a_burst_is_counted_by_the_receivers_own_agent() -> None:
    def sender(_argv: tuple[str, ...], plan: str) -> str:
        (probe,) = json.loads(plan)["probes"]
        assert probe["ask"] is False
        return json.dumps({"id": "0", "kind": "burst", "outcome": "ok", "sent": 20, "burst": probe["burst"]})

    def receiver(_argv: tuple[str, ...], plan: str) -> str:
        probe = next(one for one in json.loads(plan)["probes"] if one["kind"] == "collect")
        assert (probe["dial"], probe["count"]) == ("127.0.0.1:8080", 20)
        line = {"id": probe["id"], "kind": "collect", "outcome": "ok", "burst": probe["burst"], "counted": True}
        return (
            json.dumps({**line, "received": 19}) + "\n" + json.dumps({"id": "0", "kind": "exchange", "outcome": "ok"})
        )

    c = site("c", receiver, "10.244.2.2")
    got = run_plans({site("a", sender): [BurstProbe(c.target(), 20)], c: [ExchangeProbe(C)]}, batch="B1")
    assert isinstance(got[0], Burst)
    assert (got[0].outcome, got[0].sent, got[0].received) == ("lost", 20, 19)
    assert isinstance(got[1], Exchange)


@pytest.mark.parametrize(
    ("line", "outcome", "received"),
    [
        ({"counted": True, "received": 20}, "ok", 20),
        ({"counted": True}, "lost", 0),
        ({}, "error", None),
    ],
)
def test_a_burst_to_somebody_without_an_agent_is_counted_by_asking(
    line: dict[str, Any], outcome: str, received: int | None
) -> None:
    a = site("a", answering(outcome="ok", sent=20, **line))
    (got,) = run_plans({a: [BurstProbe(C, 20)]}, batch="B1")
    assert isinstance(got, Burst)
    assert (got.outcome, got.received) == (outcome, received)


def test_a_rung_keeps_what_the_error_queue_said() -> None:
    a = site(
        "a",
        answering(outcome="msgsize", errno=90, reported_mtu=1300, origin="icmp", icmp_type=3, icmp_code=4,
                  reporter="172.18.0.1"),
    )  # fmt: skip
    (got,) = run_plans({a: [RungProbe(C, 1301, expect="msgsize")]}, batch="B2")
    assert isinstance(got, Rung)
    assert (got.size, got.outcome, got.errno, got.reported_mtu, got.origin) == (1301, "msgsize", 90, 1300, "icmp")
    assert (got.icmp_type, got.icmp_code, got.reporter, got.df) == (3, 4, "172.18.0.1", True)


def test_churn_and_lookup_become_their_records() -> None:
    a = site("a", answering(outcome="timeout", errno=110, connected=690, errors={"110": 10}, p99_us=900))
    (churn,) = run_plans({a: [ChurnProbe(C, 500, 200)]}, batch="B1")
    assert isinstance(churn, Churn)
    assert (churn.connected, churn.errors, churn.sequential, churn.parallel) == (690, {"110": 10}, 500, 200)
    query = {
        "name": "www.outside.test.default.svc.cluster.local.", "qtype": "A", "rcode": "NXDOMAIN", "answers": [],
        "ms": 0.5, "server": "10.96.0.10:53", "transport": "udp",
    }  # fmt: skip
    a = site("a", answering(outcome="ok", server="10.96.0.10", rcode="NOERROR", answers=["8.8.8.8"], queries=[query]))
    (lookup,) = run_plans({a: [LookupProbe("www.outside.test", transport="libc")]}, batch="B4")
    assert isinstance(lookup, Lookup)
    assert (lookup.server, lookup.rcode, lookup.answers) == ("10.96.0.10", "NOERROR", ("8.8.8.8",))
    assert lookup.queries[0].rcode == "NXDOMAIN"


def test_an_agent_that_cannot_run_is_an_error_of_its_probes_alone() -> None:
    good, bad = site("a", answering(outcome="ok")), site("b", lambda _argv, _plan: 126)
    got = run_plans({good: [ExchangeProbe(C)], bad: [ExchangeProbe(C), RungProbe(C, 576)]}, batch="B1")
    assert [one.outcome for one in got if isinstance(one, Exchange | Rung)] == ["ok", "error", "error"]
    assert isinstance(got[1], Exchange)
    assert "it broke" in got[1].detail


def test_a_probe_without_a_line_is_an_error_and_not_a_timeout() -> None:
    (got,) = run_plans({site("a", lambda _argv, _plan: ""): [ExchangeProbe(C)]}, batch="B1")
    assert isinstance(got, Exchange)
    assert (got.outcome, got.detail) == ("error", "the agent ended without a result for this probe")


def test_empty_plans_run_nothing() -> None:
    a = site("a", answering(outcome="ok"))
    assert run_plans({a: []}, batch="B1") == []
    assert isinstance(a.runner, FakeRunner)
    assert a.runner.calls == []


def test_an_agent_whose_connection_was_lost_is_run_once_more() -> None:
    lost: list[int] = []

    def answer(_: tuple[str, ...], __: str) -> str:
        lost.append(1)
        if len(lost) == 1:
            msg = "the connection to n1 was lost"
            raise ConnectionLostError(msg)
        return json.dumps({"id": "0", "outcome": "ok"})

    (found,) = run_plans({site("a", answer): [ExchangeProbe(C)]}, batch="B1")
    assert isinstance(found, Exchange)
    assert (found.outcome, len(lost)) == ("ok", 2)

    def gone(_: tuple[str, ...], __: str) -> str:
        lost.append(1)
        msg = "the connection to n1 was lost"
        raise ConnectionLostError(msg)

    (got,) = run_plans({site("a", gone): [ExchangeProbe(C)]}, batch="B1")
    assert isinstance(got, Exchange)
    assert (got.outcome, got.detail, len(lost)) == ("error", "the connection to n1 was lost", 4)
