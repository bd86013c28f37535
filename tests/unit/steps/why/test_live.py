"""Tracing in several places: a program that stands for nft is started, listens, prints, and is gone afterwards."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conformance.path.passages import Aim
from harness import timeouts
from harness.model.datapath import Drop, DropMonitor
from harness.runner import Completed, HostRunner
from harness.steps.why import live
from harness.steps.why.live import Agent, Spot, tracing

TRACE = Path(__file__).parents[2] / "conformance/traces/reject.txt"
AIM = Aim("ipv4", ("10.1.0.2", "10.2.0.1"), ("10.96.0.9", "10.2.0.2"), "tcp", (80, 8080))

LISTENING = "sk Eth Pid Groups\n0 12 77 00000100 0\n"
DEAF = LISTENING.replace("100", "000")
SNMP = "IpExt: InNoRoutes InOctets\nIpExt: {} 7\n"

OWNER = "cat > '{rules}'; echo owner ended > '{ended}'"
MONITOR = "cat '{trace}'; exec sleep 60"


@dataclass
class Place:
    """A runner in whose place nft is a shell script."""

    folder: Path
    owner: str = OWNER
    monitor: str = MONITOR
    netlink: str = LISTENING
    listed: int = 0
    looks: int = 0
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def files(self) -> Mapping[str, Path]:
        return {"rules": self.folder / "rules", "ended": self.folder / "ended", "trace": TRACE}

    def run(self, argv: Any, **_: Any) -> Completed:
        words = [str(one) for one in argv]
        if words == ["cat", "/proc/net/netlink"]:
            return Completed(tuple(words), 0, self.netlink, "")
        if words[0] == "cat":
            self.looks += 1
            return Completed(tuple(words), 1, SNMP.format(self.looks), "cat: /proc/net/snmp6: No such file")
        assert words == ["nft", "list", "table", "inet", "cnilab-trace"]
        return Completed(tuple(words), self.listed, "", "")

    def start(self, argv: Any, **options: Any) -> subprocess.Popen[bytes]:
        words = [str(one) for one in argv]
        script = self.owner if words == ["nft", "-i"] else self.monitor
        if script is self.monitor:
            assert words == ["timeout", "60", "nft", "-a", "monitor", "trace"]
        process = HostRunner().start(["sh", "-c", script.format(**self.files)], **options)
        self.started.append(process)
        return process


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def gone(place: Place) -> bool:
    """All programs that were started have ended, and were waited for."""
    return all(one.returncode is not None for one in place.started) and len(place.started) > 0


def test_what_is_printed_is_read_and_nothing_stays(place: Place) -> None:
    with tracing([Spot("n1", place)], AIM) as traced:
        assert not traced.seen
    assert place.files["rules"].read_text().startswith("table inet cnilab-trace { flags owner; ")
    assert [(one.place, one.hook, one.verdict) for one in traced.seen] == [
        ("n1", "prerouting", "passed"),
        ("n1", "forward", "dropped"),
    ]
    assert (traced.counted, traced.untraced) == ({"n1": {"IpExtInNoRoutes": 1}}, {})
    assert gone(place)
    # The owner was told by its standard input, and had time to end by itself.
    assert place.files["ended"].read_text() == "owner ended\n"


def test_nothing_stays_after_an_error_of_the_caller(place: Place) -> None:
    with pytest.raises(KeyboardInterrupt), tracing([Spot("n1", place)], AIM):
        raise KeyboardInterrupt
    assert gone(place)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (
            {"owner": "echo 'Error: syntax error, unexpected flags'; cat > /dev/null", "listed": 1},
            "Error: syntax error",
        ),
        (
            {"owner": "echo 'nft: interactive CLI not supported'; exit 1", "listed": 1},
            "nft: interactive CLI not supported",
        ),
        ({"monitor": "echo 'timeout: failed to run command nft' >&2; exit 127", "netlink": DEAF}, "failed to run"),
        ({"netlink": DEAF}, "waited"),
        ({"listed": 1}, "waited"),
    ],
)
def test_a_place_that_cannot_be_traced_is_named_and_others_are(
    facts: dict[str, Any], said: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "waited" in said:
        monkeypatch.setattr(live, "BEGINS", 0.5)
    other = Place(tmp_path / "other", **facts)
    (tmp_path / "other").mkdir()
    with tracing([Spot("n1", place), Spot("c", other)], AIM) as traced:
        pass
    assert said in traced.untraced["c"]
    assert "\n" not in traced.untraced["c"]
    assert {one.place for one in traced.seen} == {"n1"}
    assert gone(place)
    assert gone(other)


def test_a_program_that_does_not_end_is_killed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "PROCESS_EXIT", 0.2)
    stubborn = Place(place.folder, monitor="trap '' TERM; cat '{trace}'; while :; do sleep 1; done")
    with tracing([Spot("n1", stubborn)], AIM) as traced:
        pass
    assert len(traced.seen) == 2
    assert gone(stubborn)
    assert stubborn.started[-1].returncode == -9


def monitor(text: str) -> DropMonitor:
    """Tells that one packet was dropped, until it is ended."""
    words = ("sh", "-c", f"echo '{text}'; exec sleep 60")
    return DropMonitor("agent", words, "Listening", lambda said: [Drop(said.strip(), *ENDS, "tcp", 9, 80)])


ENDS = ("10.1.0.2", "10.96.0.9")


def test_what_programs_drop_is_told_by_their_agent_beside_what_netfilter_saw(place: Place) -> None:
    agent = Agent("n2", HostRunner(), monitor("Listening for drops"))
    with tracing([Spot("n1", place)], AIM, [agent]) as traced:
        pass
    assert [(one.place, one.hook, one.rule) for one in traced.seen if one.place == "n2"] == [
        ("n2", "program", "Listening for drops")
    ]
    assert {one.place for one in traced.seen} == {"n1", "n2"}
    assert traced.untraced == {}


def test_an_agent_that_does_not_tell_is_named() -> None:
    silent = DropMonitor("agent", ("false",), "Listening", lambda _: [])
    with tracing([], AIM, [Agent("n2", HostRunner(), silent)]) as traced:
        pass
    assert traced.untraced == {"programs of n2": "'false' ended with status 1: nothing printed"}


def test_without_places_nothing_is_seen() -> None:
    with tracing([], AIM) as traced:
        pass
    assert (traced.seen, traced.counted, traced.untraced) == ((), {}, {})
