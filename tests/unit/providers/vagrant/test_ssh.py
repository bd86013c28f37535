"""The one place where a line for another machine's shell is made, and all that can happen on the way there.

A program that is called `ssh` here hands its line to a shell of this machine, as sshd does on another one.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import PreflightError
from harness.providers.vagrant import ssh
from harness.providers.vagrant.ssh import SshRunner, Way, control_path, line, trouble
from harness.runner import CommandError, ConnectionLostError, stop
from harness.timeouts import wait_until

FAKES = {
    # The last word is the line, as sshd gets it.
    "ssh": 'for line in "$@"; do :; done; echo "$@" >>"$SSH_ASKED"; exec "${LOGIN_SHELL:-sh}" -c "$line"',
    "sudo": '[ "$1 $2" = "-n --" ] || exit 99; shift 2; exec "$@"',
}

words = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with programs that stand for another machine."""
    folder = tmp_path_factory.mktemp("there")
    for name, script in FAKES.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def runner(there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SshRunner:
    monkeypatch.setenv("PATH", f"{there}:{os.environ['PATH']}")
    monkeypatch.setenv("SSH_ASKED", str(tmp_path / "asked"))
    return SshRunner(Way(tmp_path / "ssh_config", "n1", tmp_path / "control"))


@given(words)
def test_the_shell_of_the_other_side_finds_exactly_these_words(found: list[str]) -> None:
    assert shlex.split(line(found)) == found


@settings(max_examples=25, deadline=None)
@given(words)
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_words_arrive_as_they_are(there: Path, shell: str, found: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{there}:{os.environ['PATH']}")
        patch.setenv("SSH_ASKED", "/dev/null")
        patch.setenv("LOGIN_SHELL", shell)
        runner = SshRunner(Way(Path("/ssh_config"), "n1", Path("/control")), ("env", "--"))
        done = runner.run(["printf", r"%s\0", *found])
    expected = "".join(f"{word}\0" for word in found).encode(errors="replace").decode(errors="replace")
    assert done.stdout == expected


def test_programs_get_the_environment_of_every_machine_and_their_input(runner: SshRunner) -> None:
    assert runner.run(["cat"], input="a\nb").stdout == "a\nb"
    assert runner.run(["cat"]).stdout == ""
    seen = dict(one.split("=", 1) for one in runner.run(["env"], env={"A": "b c'd"}).stdout.splitlines())
    assert seen["A"] == "b c'd"
    assert (seen["HOME"], "SSH_ASKED" in seen) == ("/root", False)


@pytest.mark.parametrize("code", [0, 1, 127, 254, 255])
def test_exit_codes_are_the_programs_own(runner: SshRunner, code: int) -> None:
    done = runner.run(["sh", "-c", f"echo no >&2; exit {code}"], check=False)
    assert (done.returncode, done.stderr) == (code, "no\n")


def test_a_signal_is_told_as_a_shell_does_and_not_taken_for_a_lost_connection(runner: SshRunner) -> None:
    assert runner.run(["sh", "-c", "kill -KILL $$"], check=False).returncode == 128 + signal.SIGKILL


def test_a_failure_names_program_machine_and_reason(runner: SshRunner) -> None:
    with pytest.raises(CommandError, match="ls on n1 failed with exit status") as caught:
        runner.run(["ls", "/not/there"])
    assert "/not/there" in caught.value.cause


def test_what_takes_too_long_ends_there_too(runner: SshRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_PATIENCE", 0)
    with pytest.raises(CommandError, match="no answer within"):
        runner.run(["sh", "-c", "echo here; exec sleep 7331"], timeout=0.6)

    def gone() -> bool:
        return not [one for one in Path("/proc").glob("[0-9]*/cmdline") if b"sleep\x007331" in _read(one)]

    wait_until("the program to end", gone, 10)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_was_started_and_its_last_words_arrive(runner: SshRunner, number: int) -> None:
    script = 'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.05; done'
    process = runner.start(["sh", "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    os.killpg(process.pid, number)
    assert process.stdout.read() == b"bye\n"
    assert process.wait(10) == 3
    process.stdout.close()


def test_what_was_started_ends_when_its_relay_is_killed(runner: SshRunner) -> None:
    process = runner.start(["sh", "-c", "echo $$; exec sleep 1000"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    wait_until("the program to end", lambda: not Path(f"/proc/{pid}/cmdline").exists(), 10)
    process.stdout.close()


def test_what_ends_by_itself_has_its_own_exit_code(runner: SshRunner) -> None:
    process = runner.start(["sh", "-c", "exit 7"])
    assert process.wait(10) == 7


def test_a_program_with_an_input_of_its_own_reads_it(runner: SshRunner, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"\0\xffbinary")
    with (tmp_path / "in").open("rb") as file:
        process = runner.start(["cat"], stdin=file, stdout=subprocess.PIPE)
        assert process.communicate(timeout=10)[0] == b"\0\xffbinary"
        assert stop(process) == 0


LOST = [
    "ssh: connect to host 192.168.121.7 port 22: No route to host",
    "ssh: Could not resolve hostname n9: Name or service not known",
    "kex_exchange_identification: Connection closed by remote host\nConnection closed by 192.168.121.7 port 22",
    "vagrant@192.168.121.7: Permission denied (publickey).",
    "client_loop: send disconnect: Broken pipe",
    "Timeout, server 192.168.121.7 not responding.",
    "Connection reset by 192.168.121.7 port 22",
    "mux_client_request_session: read from master failed: Broken pipe",
]


@pytest.mark.parametrize("said", LOST)
def test_a_lost_connection_is_told_by_what_ssh_says(said: str) -> None:
    assert trouble(255, f"a program's words\n{said}\n") == said
    assert trouble(1, said) == ""


def test_a_program_that_ends_as_ssh_would_is_no_lost_connection() -> None:
    assert trouble(255, "grep: no such file\nmy ssh: is not meant\n") == ""


def losing(path: Path, words: str, before: str = ":") -> Path:
    """A directory with an ssh that says these words, and has no connection; before that it runs something."""
    folder = path / "losing"
    folder.mkdir()
    (folder / "ssh").write_text(f"#!/bin/sh\n{before}; echo {shlex.quote(words)} >&2; exit 255\n")
    (folder / "ssh").chmod(0o755)
    return folder


def test_a_lost_connection_is_an_error_whoever_asks(
    runner: SshRunner, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{losing(tmp_path, LOST[0])}:{there}:{os.environ['PATH']}")
    with pytest.raises(CommandError, match="no connection to n1") as caught:
        runner.run(["true"], check=False)
    assert caught.value.cause == LOST[0]
    assert "cnilab status" in caught.value.next_step


@pytest.mark.parametrize(("words", "cause"), [("last words", "last words"), ("", "ssh does not say why")])
def test_a_session_that_ends_without_a_status_is_lost(
    words: str, cause: str, runner: SshRunner, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So ssh does on a shared connection: it has no word for it, and the program may have ended or not."""
    folder = losing(tmp_path, words, before=f'{there}/ssh "$@"')
    monkeypatch.setenv("PATH", f"{folder}:{there}:{os.environ['PATH']}")
    with pytest.raises(ConnectionLostError, match="the connection to n1 was lost") as caught:
        runner.run(["true"], check=False)
    assert caught.value.cause.startswith(cause)
    assert runner.run(["sh", "-c", "echo own >&2; exit 255"], check=False).stderr == f"own\n{words}\n", "its own status"


def test_the_connection_is_the_labs_own_and_shared(runner: SshRunner, tmp_path: Path) -> None:
    runner.run(["true"])
    asked = (tmp_path / "asked").read_text()
    for word in (f"-F {tmp_path}/ssh_config", "ControlMaster=auto", f"ControlPath={tmp_path}/control", "BatchMode=yes"):
        assert word in asked
    assert "StrictHostKeyChecking" not in asked, "Vagrant decides that"


def test_sockets_have_short_paths_in_a_directory_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 200)
    one, other = control_path(deep, "router"), control_path(tmp_path, "router")
    assert one != other
    assert one.parent == other.parent == Path(f"/tmp/cnilab-ssh-{os.geteuid()}")  # noqa: S108 - a name
    assert len(str(one)) < 60
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    mine = Path("/tmp/cnilab-ssh-4242")  # noqa: S108 - a name
    assert not mine.exists()
    try:
        with pytest.raises(PreflightError, match="other users have access to"):
            control_path(tmp_path, "router")
    finally:
        mine.rmdir()


def test_closing_where_nothing_is_open_does_nothing(runner: SshRunner, tmp_path: Path) -> None:
    runner.way.close()
    assert not (tmp_path / "asked").exists()
    begin = time.monotonic()
    (tmp_path / "control").touch()
    runner.way.close()
    assert "-O exit" in (tmp_path / "asked").read_text()
    assert not (tmp_path / "control").exists()
    assert time.monotonic() - begin < 20
