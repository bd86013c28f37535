"""The command line as a whole: help, errors, exit codes, streams, colours, signals."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from harness import timeouts
from harness.cli import app as entry
from harness.cli.command import Command
from harness.cli.context import LONGEST_PLACE, checked_name, checked_place, colored, shown
from harness.cli.interrupt import Interrupted, handling
from harness.cli.output import export_line
from harness.errors import BringUpError, CnilabError, UsageError


def commands() -> list[tuple[str, click.Command]]:
    found = []
    for name in entry.COMMANDS:
        command = entry.cli.get_command(click.Context(entry.cli), name)
        assert command is not None
        if isinstance(command, click.Group):
            found += [(f"{name} {inner}", command.commands[inner]) for inner in command.commands]
        else:
            found.append((name, command))
    return found


@pytest.fixture(autouse=True)
def _private_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNILAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CNILAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CNILAB_TIMEOUT_SCALE", "1")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def test_help_names_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["--help"]) == 0
    text = capsys.readouterr().out
    for name in entry.COMMANDS:
        assert re.search(rf"^  {name} ", text, re.MULTILINE)
    for code in (0, 1, 3, 4, 10, 11, 12, 13, 130):
        assert re.search(rf"^  +{code} ", text, re.MULTILINE)


def test_every_command_has_three_examples_that_begin_with_its_name() -> None:
    for name, command in commands():
        assert isinstance(command, Command), name
        calls = [line for line in command.examples if f"cnilab {name}" in line or line.startswith("#")]
        assert len(calls) >= 3, name
        assert command.help, name


def test_help_of_a_command_works_with_both_flags(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("-h", "--help"):
        assert entry.run(["version", flag]) == 0
        assert "Examples:" in capsys.readouterr().out


def test_a_mistyped_command_is_a_usage_error_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["staus"]) == UsageError.exit_code
    captured = capsys.readouterr()
    assert "did you mean 'status'?" in captured.err
    assert captured.out == ""


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["version", "--nope"]) == UsageError.exit_code
    assert "cnilab version --help" in capsys.readouterr().err


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run([]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Usage: cnilab")
    assert captured.err == ""


def test_an_option_of_the_command_that_exec_runs_is_told_where_to_go(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["exec", "n1", "ip", "-d", "link"]) == UsageError.exit_code
    assert "behind --" in capsys.readouterr().err


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def raising(**_: object) -> None:
        raise error

    monkeypatch.setattr(dict(commands())["version"], "callback", raising)


def test_an_error_is_told_on_stderr_and_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, BringUpError("no etcd", cause="port in use\nreally", where="n1", next_step="try again"))
    assert entry.run(["version"]) == 11
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ("error: no etcd\n  cause: port in use\n         really\n  where: n1\n  next:  try again\n")


def test_an_unexpected_exception_becomes_a_sentence_and_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fail_with(monkeypatch, ZeroDivisionError("division by zero"))
    assert entry.run(["version"]) == CnilabError.exit_code
    text = capsys.readouterr().err
    assert "Traceback" not in text
    log = next((tmp_path / "state" / "log").iterdir())
    assert str(log) in text
    assert "ZeroDivisionError" in log.read_text()


def test_a_reader_that_goes_away_is_no_error() -> None:
    line = f"{sys.executable} -m harness.cli.main schema | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["/bin/bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() in {"0", "141"}


def test_data_goes_to_stdout_as_a_versioned_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["version", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["apiVersion"], document["kind"]) == ("cnilab.dev/v1", "Version")


def test_a_variable_sets_an_option(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CNILAB_VERSION_OUTPUT", "json")
    assert entry.run(["version"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "Version"


@pytest.mark.parametrize(
    ("choice", "environment", "expected"),
    [
        ("auto", {}, None),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ("auto", {"NO_COLOR": ""}, None),
        ("auto", {"FORCE_COLOR": "1"}, True),
        ("auto", {"TERM": "dumb"}, False),
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colour_follows_the_option_then_the_environment(
    choice: str, environment: dict[str, str], *, expected: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert colored(choice) is expected


@pytest.mark.parametrize("name", ["../x", "a b", "x" * 31, "<b>", "", "-a", "a/", "A", "a\n"])
def test_a_name_that_could_leave_the_state_directory_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        checked_name(name)


ODD = "a b,c:'\"$(d)\\ä"
"""What directories may be called; a comma, a colon and a backslash mean something in the options of an overlay."""


@pytest.mark.parametrize("option", ["--state", "--cache"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("two\nlines", "control character"),
        ("a\x1b[31mb", "control character"),
        ("not\udcffutf8", "not UTF-8"),
        ("a{{ b }}", "template"),
        ("x" * 1024, "bytes"),
    ],
)
def test_a_place_that_nothing_could_live_in_is_refused_at_once(
    option: str, name: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run([option, str(tmp_path / name), "status"]) == 4
    said = capsys.readouterr().err
    assert f"error: {option} " in said
    assert reason in said
    assert f"set another directory with {option}" in said
    assert "\x1b" not in said


def test_any_other_place_is_welcome(tmp_path: Path) -> None:
    assert checked_place(tmp_path / ODD, "--state") == tmp_path / ODD
    longest = Path("/" + "x" * (LONGEST_PLACE - 1))
    assert checked_place(longest, "--state") == longest


@pytest.mark.parametrize("shell", ["sh", "bash", "dash"])
def test_a_shell_reads_the_path_of_a_kubeconfig_as_it_is(shell: str, tmp_path: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    path = tmp_path / ODD / "kubeconfig"
    script = 'eval "$1" && printf %s "$KUBECONFIG"'
    done = subprocess.run([shell, "-c", script, "sh", export_line(path)], capture_output=True, check=True, text=True)
    assert done.stdout == str(path)


def test_text_from_outside_cannot_drive_the_terminal() -> None:
    assert shown("a\x1b[31mb\nc") == "a\\x1b[31mb\\nc"
    assert len(shown("x" * 300)) == 60


def test_help_starts_fast() -> None:
    spent = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-m", "harness.cli.main", "--help"], check=True, capture_output=True)
        after = os.times()
        # Processor time: what others do on the machine must not count.
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(spent) < 0.5, "heavy modules must be imported by the commands that need them"


def test_help_imports_no_heavy_module() -> None:
    code = (
        "import sys; from harness.cli.app import run; run(['--help']);"
        "heavy = {'difflib', 'pydantic', 'rich', 'kubernetes', 'ansible_runner', 'ruamel', 'yaml', 'jinja2'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


WAITING = """
import sys, time
from harness.cli import app as main, interrupt
from harness.cli.commands import version
interrupt.PATIENCE = float(sys.argv[2])
def wait(**_):
    try:
        print("ready", flush=True)
        time.sleep(30)
    finally:
        print("cleaning", flush=True)
        time.sleep(float(sys.argv[1]))
        print("cleaned", flush=True)
version.command.callback = wait
sys.exit(main.run(["version"]))
"""


def interrupted(cleaning: str, *, twice: bool, signum: int = signal.SIGINT, patience: float = 60.0) -> tuple[int, str]:
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, cleaning, str(patience)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signum)
        assert process.stdout.readline() == b"cleaning\n"
        if twice:
            process.send_signal(signum)
        # Not communicate(): it reads the descriptor, and would miss what readline has read ahead.
        out = process.stdout.read().decode()
        return process.wait(20), out


def test_the_first_interrupt_cleans_up() -> None:
    assert interrupted("0", twice=False) == (130, "cleaned\n")


def test_the_second_interrupt_quits_at_once() -> None:
    assert interrupted("30", twice=True) == (130, "")


def test_cleaning_up_is_bounded_and_the_bound_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert interrupted("30", twice=False, patience=0.3) == (130, "")
    monkeypatch.setenv("CNILAB_TIMEOUT_SCALE", "30")
    assert interrupted("0.6", twice=False, patience=0.3) == (130, "cleaned\n")


@pytest.mark.parametrize("factor", ["abc", "nan", "inf", "-1", "0"])
def test_a_factor_that_is_no_number_is_a_mistake_of_the_call_and_not_a_bug(
    factor: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CNILAB_TIMEOUT_SCALE", factor)
    assert entry.run(["--help"]) == 0
    assert entry.run(["version"]) == UsageError.exit_code
    assert "--timeout-scale" in capsys.readouterr().err
    monkeypatch.setenv("CNILAB_TIMEOUT_SCALE", "")
    assert entry.run(["version"]) == 0


@pytest.mark.parametrize(("factor", "seconds"), [(4, 240.0), (0.5, 60.0), (1e9, 86400.0)])
def test_the_patience_for_cleaning_up_is_that_of_the_moment_when_the_signal_comes(
    factor: float, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--timeout-scale` is known only after the command line is read."""
    clock: list[float] = []
    monkeypatch.setattr(signal, "setitimer", lambda _, seconds: clock.append(seconds))

    def interrupted_later() -> None:
        with handling(), timeouts.paced(factor):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        interrupted_later()
    assert clock == [seconds]


def test_a_polite_kill_cleans_up_too() -> None:
    assert interrupted("0", twice=False, signum=signal.SIGTERM) == (143, "cleaned\n")
