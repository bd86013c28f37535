"""The agent and the way in, both real, over a socket of this machine."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import timeouts
from harness.errors import BringUpError, NotYetError
from harness.vm import guest
from harness.vm.channel import Door, Patience

TOKEN = "secret"


@pytest.fixture
def relay() -> guest.Relay:
    return guest.Relay()


@pytest.fixture
def door(relay: guest.Relay) -> Iterator[Door]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=_one, args=(connection, relay), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield Door(listener.getsockname()[1], TOKEN)
        listener.shutdown(socket.SHUT_RDWR)


def _one(connection: socket.socket, relay: guest.Relay) -> None:
    connection.settimeout(None)
    with connection:
        guest._session(connection, TOKEN, relay)


def run(door: Door, *argv: str, stdin: int | None = None) -> tuple[int, str, str]:
    out, err = io.BytesIO(), io.BytesIO()
    env = {"PATH": os.environ["PATH"], "MARK": "one"}
    code = door.run(argv, cwd=Path("/"), env=env, stdin=stdin, out=out, err=err)
    return code, out.getvalue().decode(), err.getvalue().decode()


def test_streams_stay_apart_and_the_exit_code_comes_back(door: Door) -> None:
    assert run(door, "sh", "-c", "echo to $MARK; echo from >&2; exit 7") == (7, "to one\n", "from\n")


def test_a_signals_death_is_told_as_shells_tell_it(door: Door) -> None:
    assert run(door, "sh", "-c", "kill -TERM $$")[0] == 128 + signal.SIGTERM


def test_a_program_that_is_not_there_says_so(door: Door) -> None:
    code, _, err = run(door, "no-such-program")
    assert (code, err) == (127, "cannot run no-such-program: No such file or directory\n")


def test_input_reaches_the_program_and_ends(door: Door, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"over a pipe")
    os.close(writer)
    assert run(door, "cat", stdin=reader) == (0, "over a pipe", "")
    os.close(reader)
    (tmp_path / "input").write_text("from a file")
    descriptor = os.open(tmp_path / "input", os.O_RDONLY)
    assert run(door, "cat", stdin=descriptor) == (0, "from a file", "")
    os.close(descriptor)


def test_much_output_comes_whole(door: Door) -> None:
    _, out, _ = run(door, "seq", "200000")
    assert out.splitlines()[-1] == "200000"
    assert len(out.splitlines()) == 200000


def test_what_it_says_goes_to_our_own_streams_whatever_they_are(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as caught:
        door.run(["sh", "-c", "echo out; echo err >&2"], cwd=Path("/"), env={"PATH": os.environ["PATH"]})
    assert caught.getvalue() == "out\n"
    assert capsys.readouterr().err == "err\n"


def test_a_wrong_secret_runs_nothing(door: Door) -> None:
    with pytest.raises(BringUpError, match="does not answer"):
        run(Door(door.port, "guess"), "true")


def test_the_agent_is_known_to_be_there_without_the_secret(door: Door) -> None:
    assert door.answers()
    assert "secret" not in repr(door)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert not Door(port, "").answers()
    with pytest.raises(NotYetError) as caught:
        Door(port, "").greet()
    assert (caught.value.what, caught.value.cause) == ("its agent does not answer", "Connection refused")


def test_a_way_in_that_this_machine_forbids_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> socket.socket:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(socket, "create_connection", forbidden)
    with pytest.raises(BringUpError, match="this machine does not allow a connection to the virtual machine"):
        timeouts.wait_until("the virtual machine to answer", Door(1, "").greet, 60)


@pytest.fixture
def _not_under_nohup() -> Iterator[None]:
    """nohup(1) ignores SIGHUP, and programs inherit that; the agent has no such parent."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_not_under_nohup")
def test_whoever_goes_away_takes_the_program_along(door: Door, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    with door._connect({"argv": ["sh", "-c", f"echo $$ > {mark}; exec sleep 60"], "cwd": "/", "env": dict(os.environ)}):
        while not mark.exists() or not mark.read_text().strip():
            time.sleep(0.01)
    pid = int(mark.read_text())
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail("it still runs")


def test_a_file_is_read_or_the_error_names_it(door: Door, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    assert door.read(tmp_path / "file") == "content"
    with pytest.raises(BringUpError, match="cannot read /no/such"):
        door.read(Path("/no/such"))


def test_connections_are_relayed_to_the_port_that_was_told(door: Door, relay: guest.Relay) -> None:
    with socket.create_server(("127.0.0.1", 0)) as service:
        door.relay(service.getsockname()[1])
        outside, ours = socket.socketpair()
        threading.Thread(target=guest._guarded, args=(relay.carry, outside), daemon=True).start()
        server, _ = service.accept()
        ours.sendall(b"ping")
        assert server.recv(4) == b"ping"
        server.sendall(b"pong")
        assert ours.recv(4) == b"pong"
        server.close()
        ours.close()


def test_a_program_that_takes_too_long_is_left_and_the_error_names_it(door: Door) -> None:
    began = time.monotonic()
    with pytest.raises(BringUpError, match=r"waited 0 s for a program in the virtual machine") as caught:
        door.run(["sleep", "60"], cwd=Path("/"), env={"PATH": os.environ["PATH"]}, patience=Patience(0.3))
    assert caught.value.where == "sleep 60"
    assert time.monotonic() - began < 30


def test_a_slow_machine_and_a_slow_environment_get_more_time(door: Door) -> None:
    slow = Door(door.port, TOKEN, slower=20.0)
    env = {"PATH": os.environ["PATH"]}
    with timeouts.paced(5):
        assert slow.run(["sh", "-c", "sleep 0.3; exit 3"], cwd=Path("/"), env=env, patience=Patience(0.1)) == 3


class Interrupting(io.BytesIO):
    """A sink that is interrupted by the first thing that is written to it."""

    def write(self, data: object) -> int:
        del data
        raise KeyboardInterrupt


CLEANS_UP = (
    "trap 'for tick in $(seq {ticks}); do sleep 0.05; done; echo > {mark}; exit 9' INT; "
    "echo ready; while :; do sleep 0.05; done"
)
"""No long sleep: it would outlive a shell that is killed, and whoever looks for what is left would find it."""


def interrupted(door: Door, mark: Path, seconds: float, patience: Patience) -> None:
    script = CLEANS_UP.format(ticks=int(seconds / 0.05), mark=mark)
    env = {"PATH": os.environ["PATH"]}
    door.run(["bash", "-c", script], cwd=Path("/"), env=env, out=Interrupting(), patience=patience)


def test_an_interrupt_reaches_the_program_which_may_clean_up_and_then_is_ours(door: Door, tmp_path: Path) -> None:
    told: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(door, tmp_path / "cleaned", 0.2, Patience(on_interrupt=lambda: told.append(True)))
    assert (tmp_path / "cleaned").exists()
    assert told == [True]


def test_after_an_interrupt_nobody_waits_longer_than_was_agreed(door: Door, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted(door, tmp_path / "cleaned", 60, Patience(interrupted=0.2))
    assert time.monotonic() - began < 30
    assert not (tmp_path / "cleaned").exists()


def test_a_relay_that_nobody_confirms_is_an_error(door: Door) -> None:
    with pytest.raises(BringUpError, match="does not answer"):
        Door(door.port, "guess").relay(1)
