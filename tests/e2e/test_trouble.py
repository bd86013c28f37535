"""When things go wrong: nothing is left, and the error says what to do."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import apart, timeouts
from tests.e2e import snapshot
from tests.e2e.conftest import Cli

SEED = int(os.environ.get("CNILAB_E2E_SEED", "20260101"))


@pytest.mark.parametrize("kills", [5, pytest.param(40, marks=pytest.mark.night)])
def test_kill_9_at_any_moment_leaves_nothing_after_down(kills: int, cli: Cli, untouched: list[str]) -> None:
    name = untouched[0]
    began = time.monotonic()
    cli("up", "flannel", "--name", name)
    whole = time.monotonic() - began
    cli("down", name)
    before = snapshot.take(untouched)
    # Early moments are the interesting ones: later, only waiting is left to interrupt.
    chooser = random.Random(SEED)  # noqa: S311 - moments, not secrets
    for number in range(kills):
        moment = whole * chooser.random() ** 1.5
        process = cli.start("up", "flannel", "--name", name)
        time.sleep(moment)
        process.kill()
        process.communicate()
        cli("down", name)
        assert snapshot.settle(before, untouched) == {}, f"kill {number} after {moment:.2f} s (seed {SEED})"
        assert not (cli.state / "labs").exists()


def wait_for_run(cli: Cli) -> None:
    """Until then nothing is made, and Python itself may still be starting."""
    timeouts.wait_until("the run directory", (cli.home / ".runs/latest").exists, timeouts.COMMAND)


@pytest.mark.parametrize("moment", [0.0, 1.0, 4.0])
def test_one_interrupt_cleans_up_and_exits_130(moment: float, cli: Cli, untouched: list[str]) -> None:
    process = cli.start("up", "flannel", "--name", untouched[0])
    wait_for_run(cli)
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: the whole group
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert not (cli.state / "labs").exists()


def test_a_second_interrupt_quits_at_once_and_down_still_works(cli: Cli, untouched: list[str]) -> None:
    process = cli.start("up", "flannel", "--name", untouched[0])
    wait_for_run(cli)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    cli("down", untouched[0])


def test_down_is_idempotent(cli: Cli, untouched: list[str]) -> None:
    for _ in range(2):
        assert "is not up" in cli("down", untouched[0]).stderr
    assert cli("down", "--all").returncode == 0


def test_a_lab_whose_processes_died_is_broken_and_can_be_taken_down(cli: Cli, untouched: list[str]) -> None:
    name = untouched[0]
    cli("up", "bridge", "--name", name, "--nodes", "1")
    pid = next(item["pid"] for item in cli.data("status", name)["items"] if item["name"] == "n1")
    os.kill(pid, signal.SIGKILL)
    # The kernel ends everything in the node's PID namespace before its init is gone.
    timeouts.wait_until("the cluster to be broken", lambda: cli.labs() == {name: "Broken"}, timeouts.PROCESS_EXIT)
    assert "not running: n1" in cli("exec", "--cluster", name, "n1", "--", "true", code=4).stderr
    assert "leftovers" in cli("doctor", "-o", "wide").stdout
    cli("up", "bridge", "--name", name, "--nodes", "1", code=10)
    cli("up", "bridge", "--name", name, "--nodes", "1", "--replace")
    cli("down", name)


def test_a_failed_bring_up_says_what_and_where_and_leaves_nothing(cli: Cli, untouched: list[str]) -> None:
    name = untouched[0]
    # No machine does this in a hundredth of the time: some wait fails.
    done = cli("--timeout-scale", "0.01", "up", "flannel", "--name", name, "--run-dir", "failed", code=11)
    assert "FAILED" in done.stderr
    assert "waited" in done.stderr or "no answer" in done.stderr
    run = cli.home / "failed"
    assert f"log:   {run}/logs" in done.stderr
    assert list((run / "logs").rglob("*.log"))
    assert not (cli.state / "labs").exists()
    assert cli("report", run).stdout


def test_a_damaged_state_file_is_said_and_cleared(cli: Cli, untouched: list[str]) -> None:
    folder = cli.state / "labs" / untouched[0]
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{ half")
    assert cli.labs() == {untouched[0]: "Damaged"}
    assert "damaged" in cli("exec", "--cluster", untouched[0], "n1", code=4).stderr
    cli("down", untouched[0])
    assert cli.labs() == {}


def test_a_missing_capability_is_found_before_anything_is_made(cli: Cli) -> None:
    argv = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", *cli.argv("up")]
    done = subprocess.run(argv, cwd=cli.home, env=cli.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 10
    assert "CAP_NET_ADMIN" in done.stderr
    assert not cli.state.exists()


def in_small_file_system(cli: Cli, size: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run with a state directory that holds only so much, in a mount namespace of its own."""
    cli.state.mkdir(parents=True, exist_ok=True)
    script = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@"'
    argv = [*apart.words(), "sh", "-c", script, "sh", size, str(cli.state), *cli.argv(*words)]
    return subprocess.run(argv, cwd=cli.home, env=cli.environment, capture_output=True, text=True, check=False)


def test_a_full_disk_is_found_before_anything_is_made(cli: Cli, untouched: list[str]) -> None:
    done = in_small_file_system(cli, "20m", "up", "bridge", "--name", untouched[0])
    assert done.returncode == 10, done.stderr
    assert "disk, state" in done.stderr


def test_a_disk_that_fills_up_fails_clearly_and_leaves_nothing(cli: Cli, untouched: list[str]) -> None:
    done = in_small_file_system(cli, "1m", "up", "bridge", "--name", untouched[0], "--skip-preflight")
    assert done.returncode == 11, done.stderr
    assert "No space left" in done.stderr


@pytest.mark.parametrize("name", ['it\'s a "lab"', "../../etc", "x" * 300, "<b>x</b>"])
def test_hostile_names_are_refused(name: str, cli: Cli) -> None:
    for words in (["up", "--name", name], ["down", "--", name]):
        done = cli(*words, code=4)
        assert "error:" in done.stderr
        assert "Traceback" not in done.stderr
    assert not cli.state.exists()


def test_a_hostile_run_directory_loses_nothing(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    assert "cannot make the run directory" in cli("up", "--run-dir", "mine/run", code=4).stderr
    assert (tmp_path / "mine").read_text() == "precious"
