"""Every command works on machines that are reached by ssh alone: real ssh, and machines that are up in seconds.

What makes virtual machines is another test's matter (test_vagrant_run.py); here a lab of namespaces has ssh servers.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.model.labstate import LabDir
from harness.providers.vagrant.ssh import control_path
from tests.e2e import snapshot
from tests.e2e.conftest import PREFIX, Cli
from tests.e2e.hypervisor import install
from tests.e2e.ssh_lab import PACKAGES, stand_in
from tests.e2e.verdicts import red

NATIVE, NAME = f"{PREFIX}-native", f"{PREFIX}-ssh"


@pytest.fixture(scope="module")
def cli(warm: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A user whose only lab is one that ssh leads to."""
    del warm
    install(PACKAGES, PACKAGES)
    maker, user = (Cli(tmp_path_factory.mktemp(name)) for name in ("maker", "user"))
    before = snapshot.take([NATIVE, NAME])
    run = user.home / "run"
    maker("up", "flannel", "--name", NATIVE, "--run-dir", run)
    try:
        with stand_in(LabDir(maker.state, NATIVE), LabDir(user.state, NAME), "flannel"):
            yield user
            user("down", NAME, code=None)
    finally:
        maker("down", NATIVE)
    assert snapshot.settle(before, [NATIVE, NAME]) == {}


@pytest.mark.parametrize(("place", "link"), [("n1", "flannel.1"), ("router", "world0"), ("far", "eth0")])
def test_commands_run_on_every_machine(cli: Cli, place: str, link: str) -> None:
    assert link in cli("exec", place, "--", "ip", "-br", "link").stdout


def test_words_exit_codes_and_input_pass(cli: Cli) -> None:
    done = cli("exec", "n2", "--", "sh", "-c", 'printf "%s|" "$@"; exit 7', "sh", "a  b", "$(id)", "'", "", code=7)
    assert done.stdout == "a  b|$(id)|'||"
    words = cli.argv("exec", "n1", "--", "wc", "-c")
    counted = subprocess.run(words, env=cli.environment, input=b"x" * 100_000, capture_output=True, check=True)
    assert counted.stdout.strip() == b"100000"


def test_a_lab_runs(cli: Cli) -> None:
    steps = cli.data("apply", "pod-pause", "--cluster", NAME, timeout=900)["items"][0]["steps"]
    assert {step["status"] for step in steps} <= {"pass", "record"}, json.dumps(steps, indent=1)


@pytest.mark.night
def test_the_suite_passes_with_captures_at_nodes_and_router(cli: Cli) -> None:
    results = cli.data("test", "--cluster", NAME, code=None, timeout=900)["items"]
    assert red(results) == {}
    assert sum(item["status"] == "pass" for item in results) > 70


def test_evidence_is_collected_from_every_machine(cli: Cli) -> None:
    folder = Path(cli("collect", "--cluster", NAME).stdout.strip())
    there = {path.name for path in folder.iterdir()}
    assert there >= {"n1", "n2", "router", "far"}


def test_a_machine_that_is_gone_is_named_with_what_ssh_says(cli: Cli) -> None:
    config = LabDir(cli.state, NAME).path / "vagrant/ssh_config"
    text = config.read_text()
    cli("exec", "n1", "--", "true")
    try:
        config.write_text(text.replace("ProxyCommand ", "ProxyCommand false "))
        # Connections that are open are used as long as they are there.
        for machine in ("n1", "n2", "router"):
            control_path(LabDir(cli.state, NAME).path, machine).unlink(missing_ok=True)
        refused = cli("exec", "n1", "--", "true", code=4).stderr
    finally:
        config.write_text(text)
    assert "n1 does not answer: " in refused
