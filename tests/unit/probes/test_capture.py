from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import pytest

from harness.probes import capture
from harness.probes.capture import TapPoint
from harness.runner import Argv, CommandError, Completed, HostRunner
from tests.unit.probes import frames

TCPDUMP = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
sys.stdout.buffer.write(bytes.fromhex(sys.argv[1])); sys.stdout.flush()
print("tcpdump: listening on eth0, link-type EN10MB", file=sys.stderr, flush=True)
signal.sigwait([signal.SIGINT])
print("2 packets captured\\n3 packets dropped by kernel", file=sys.stderr)
"""


class Tcpdump(HostRunner):
    """Starts a stand-in for tcpdump that has some packets from the start; a canary goes straight into the file."""

    def __init__(self, packets: bytes, script: str = TCPDUMP, *, records: bool = True) -> None:
        super().__init__()
        self.packets, self.script, self.records = packets, script, records
        self.argv: tuple[str, ...] = ()
        self.file = Path()

    def start(
        self,
        argv: Argv,
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        assert not isinstance(stdout, int)
        self.argv, self.file = tuple(str(word) for word in argv), Path(stdout.name)
        program = [sys.executable, "-c", self.script, self.packets.hex()]
        return super().start(program, stdin=stdin, stdout=stdout, stderr=stderr, env=env)

    def run(
        self,
        argv: Argv,
        *,
        input: str | None = None,  # noqa: A002, ARG002
        timeout: float = 1.0,  # noqa: ARG002
        check: bool = True,  # noqa: ARG002
        env: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> Completed:
        words = [str(word) for word in argv]
        if self.records:
            with self.file.open("ab") as file:
                file.write(frames.pcap((9_000_000, frames.canary(words[-1])))[24:])
        return Completed(tuple(words), 0, "", "")


PING = frames.ethernet(frames.ipv4(frames.echo(), "10.244.1.2", "10.244.2.2", 1))


def point(runner: HostRunner, place: str = "a") -> TapPoint:
    return TapPoint("n1", place, "eth0", runner, "icmp")


def test_a_tap_keeps_its_file_and_its_packets_and_proves_itself(tmp_path: Path) -> None:
    one, two = Tcpdump(frames.pcap((5_000_000, PING))), Tcpdump(frames.pcap((5_000_250, PING)))
    with capture.listen([point(one), point(two, "c")], flow="a>c icmp", batch="B2", run=tmp_path) as taps:
        pass
    first, second = taps.stop()
    assert [tap.packets[0].t_us for tap in (first, second)] == [0, 250]
    assert (first.canary, first.dropped, first.command) == (True, 3, "tcpdump -nn -i eth0 icmp")
    assert (first.order, first.pcap, second.order) == (0, "captures/a-c-icmp-0-a-eth0.pcap", 1)
    assert (tmp_path / first.pcap).exists()
    assert one.argv[-1] == "(icmp) or ether proto 0x88b5"


def test_marked_frames_are_not_among_the_packets(tmp_path: Path) -> None:
    with capture.listen([point(Tcpdump(frames.pcap()))], flow="x", batch="B2", run=tmp_path) as taps:
        pass
    (tap,) = taps.stop()
    assert (tap.packets, tap.canary) == ((), True)


def test_a_tap_that_records_nothing_is_not_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "CANARY_DEADLINE", 0.05)
    deaf = Tcpdump(frames.pcap(), records=False)
    with capture.listen([point(deaf)], flow="x", batch="B2", run=tmp_path) as taps:
        pass
    assert [tap.canary for tap in taps.stop()] == [False]


def test_a_tap_that_does_not_start_says_why_and_leaves_no_other_running(tmp_path: Path) -> None:
    good = Tcpdump(frames.pcap())
    bad = Tcpdump(b"", "import sys; print('tcpdump: nosuch: No such device exists', file=sys.stderr)")
    taps = capture.listen([point(good), point(bad, "b")], flow="x", batch="B2", run=tmp_path)
    with pytest.raises(CommandError, match="of b did not start") as caught, taps:
        pytest.fail("the body ran without all taps")
    assert "No such device" in caught.value.cause


def test_stopping_twice_gives_the_same(tmp_path: Path) -> None:
    with capture.listen([point(Tcpdump(frames.pcap()))], flow="x", batch="B2", run=tmp_path) as taps:
        first = taps.stop()
    assert taps.stop() is first


def test_hostile_names_stay_inside_the_captures_directory(tmp_path: Path) -> None:
    hostile = point(Tcpdump(frames.pcap()), "../../etc/x y")
    with capture.listen([hostile], flow="../a", batch="B2", run=tmp_path) as taps:
        pass
    (tap,) = taps.stop()
    assert (tmp_path / tap.pcap).resolve().parent == tmp_path / "captures"
