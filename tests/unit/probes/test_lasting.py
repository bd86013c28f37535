"""Probes that last while something happens, with an agent that is a script."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from harness import timeouts
from harness.model.disturbed import Held, Stream
from harness.probes.lasting import HoldProbe, Plans, StreamProbe, lasting
from harness.probes.plan import Prober, Target
from harness.probes.running import running
from harness.probes.speed import measure
from harness.runner import HostRunner
from tests.unit.probes.fake import FakeRunner

AGENT = """\
    #!/usr/bin/env python3
    import json, pathlib, sys
    plan = json.loads(sys.stdin.readline())
    place = pathlib.Path(__file__)
    place.with_suffix(".plan").write_text(json.dumps(plan))
    if "never" not in plan["probes"][0]["dial"]:
        print(json.dumps({"id": "begun", "outcome": "ok"}), flush=True)
    sys.stdin.read()  # until it is closed
    place.with_suffix(".ended").write_text("")
    for probe in plan["probes"]:
        line = {"id": probe["id"], "kind": probe["kind"], "outcome": "ok"}
        if probe["kind"] == "stream":
            line |= {"sent": 100, "pause_ms": 11.5, "ms": 1000.0}
        if probe["kind"] == "collect":
            line |= {"counted": True, "received": 90, "gap": 4, "last": 93}
        if probe["kind"] == "hold":
            line |= {"before": "ok", "outcome": "reset", "errno": 104, "ms": 900.0}
        print(json.dumps(line))
"""


@pytest.fixture
def sites(tmp_path: Path) -> dict[str, Prober]:
    found = {}
    for name, ip in (("a", "10.244.0.2"), ("c", "10.244.1.2")):
        agent = tmp_path / name
        agent.write_text(textwrap.dedent(AGENT))
        agent.chmod(0o755)
        found[name] = Prober(name, f"n-{name}", ip, HostRunner(), str(agent))
    return found


def test_streams_and_connections_last_as_long_as_the_block(sites: dict[str, Prober], tmp_path: Path) -> None:
    a, c = sites["a"], sites["c"]
    plans: Plans = {
        a: [StreamProbe(c.target()), HoldProbe(c.target(), least_ms=7)],
        c: [StreamProbe(a.target())],
    }
    with lasting(plans, batch="B8", purpose="restart", trial=2) as running:
        assert running.seen == []
        # The agents had begun before the block did.
        assert {path.stem for path in tmp_path.glob("*.plan")} == {"a", "c"}
        assert not list(tmp_path.glob("*.ended"))
    there, held, back = running.seen
    assert isinstance(there, Stream)
    assert (there.src, there.dst, there.trial, there.outcome) == ("a", "c", 2, "lost")
    assert (there.sent, there.received, there.lost) == (100, 90, 10)
    # Five in a row were lost at the end, and four before: 10 ms each.
    assert (there.gap, there.dark_ms) == (4, 60.0)
    assert isinstance(held, Held)
    assert (held.before, held.outcome, held.errno) == ("ok", "reset", 104)
    assert isinstance(back, Stream)
    assert (back.src, back.dst) == ("c", "a")
    plan = json.loads((tmp_path / "a.plan").read_text())
    assert plan["lasting"]
    assert [one["kind"] for one in plan["probes"]] == ["stream", "hold", "collect"]
    assert plan["probes"][2]["dial"] == "127.0.0.1:8080"


def test_an_interrupt_ends_the_agents(sites: dict[str, Prober], tmp_path: Path) -> None:
    a, c = sites["a"], sites["c"]
    with pytest.raises(KeyboardInterrupt), lasting({a: [HoldProbe(c.target())]}, batch="B8", purpose="idle"):
        raise KeyboardInterrupt
    assert (tmp_path / "a.ended").exists()


def test_an_agent_that_cannot_run_is_an_error_of_its_probes_alone(sites: dict[str, Prober]) -> None:
    a, c = sites["a"], sites["c"]
    lost = Prober("x", "n-x", "10.244.2.2", HostRunner(), "/there/is/none")
    plans = {a: [HoldProbe(c.target())], lost: [HoldProbe(c.target())]}
    with lasting(plans, batch="B8", purpose="idle") as running:
        pass
    good, bad = running.seen
    assert (good.outcome, bad.outcome) == ("reset", "error")
    assert "/there/is/none" in bad.detail


def test_an_agent_that_says_nothing_is_an_error_with_what_it_complained_of(tmp_path: Path) -> None:
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\necho 'no such luck' >&2\nexit 3\n")
    mute.chmod(0o755)
    with running({Prober("x", "n-x", "10.244.2.2", HostRunner(), str(mute)): []}) as agents:
        pass
    assert [agents.line(site, "0")["detail"] for site in agents.lines] == ["no such luck"]
    mute.write_text("#!/bin/sh\nexit 3\n")
    with running({Prober("x", "n-x", "10.244.2.2", HostRunner(), str(mute)): []}) as agents:
        pass
    assert [agents.line(site, "0")["detail"] for site in agents.lines] == ["the agent ended with status 3"]


def test_a_probe_that_never_begins_is_not_waited_for_for_ever(sites: dict[str, Prober]) -> None:
    request = {"id": "0", "kind": "hold", "dial": "never"}
    with timeouts.paced(0.02), running({sites["a"]: [request]}) as agents:
        pass
    assert agents.line(sites["a"], "0")["outcome"] == "reset"
    assert agents.line(sites["a"], "1")["outcome"] == "error"


def test_nothing_that_arrived_is_dark_for_the_whole_time() -> None:
    facts: dict[str, Any] = {"batch": "B8", "purpose": "restart", "src": "a", "src_node": "n1", "dst": "c"}
    none = Stream(**facts, dst_node="n2", dial="10.0.0.1:1", outcome="lost", sent=50, received=0)
    assert (none.lost, none.dark_ms) == (50, 500.0)


def test_a_speed_is_what_the_agent_says_and_an_error_where_it_cannot_run() -> None:
    line = {"id": "0", "outcome": "ok", "token": "c", "received": 1 << 20, "connected": 30, "ms": 12.5, "p50_us": 80}
    runner = FakeRunner(lambda _argv, _plan: json.dumps(line))
    site = Prober("a", "n1", "10.244.0.2", runner, "/responder")
    target = Target("c", "n2", "10.244.1.2")
    with timeouts.paced(1):
        found = measure(site, target, "throughput", batch="B8", trial=1)
        rounds = measure(site, target, "rounds", batch="B8", trial=0)
        broken = measure(
            Prober("a", "n1", "10.244.0.2", FakeRunner(lambda *_: 1), "/x"), target, "rounds", batch="B8", trial=0
        )
    assert (found.outcome, found.amount, found.ms, found.trial, found.token) == ("ok", 1 << 20, 12.5, 1, "c")
    assert (rounds.amount, rounds.p50_us) == (30, 80)
    assert broken.outcome == "error"
