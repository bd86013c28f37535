"""Labs that need no cluster: on machines of their own, twice, and typed as their texts say."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import timeouts
from harness.model import labfile
from tests.e2e import snapshot
from tests.e2e.conftest import PREFIX, Cli
from tests.typed import type_all

LABS = sorted(lab.id for lab in labfile.read_all() if lab.bare)
TEXTS = Path(__file__).parents[2] / "labs"
PROGRAMS = {"docker-networks": "dockerd"}
"""What a text types that a machine need not have. The lab itself finds out, and skips its steps."""

EVERY_COMMIT = ("ns-veth-by-hand", "overlay-by-hand", "cni-plugin-by-hand")
"""Texts that are typed for every commit; the night has all."""

AGAIN = ["iptables-hooks", "ns-bridge-segment", "overlay-by-hand"]
"""Labs that run again on the same machines for every commit: links, rules and sysctls of them. The night has all."""


@pytest.fixture(scope="module", autouse=True)
def _programs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Packages and components that such labs need are there: on a fresh machine the first lab installs them."""
    cli, name = Cli(tmp_path_factory.mktemp("programs")), f"{PREFIX}-programs"
    cli("up", "bare", "--name", name)
    cli("down", name)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, str]]:
    cli, name = Cli(tmp_path_factory.mktemp("bare")), f"{PREFIX}-bare"
    cli("up", "bare", "--name", name)
    try:
        yield cli, name
    finally:
        cli("down", name)


def test_labs_make_their_own_machines_and_leave_nothing(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    before = snapshot.take([])
    items = json.loads(cli("apply", *LABS[:2], "-o", "json").stdout)["items"]
    assert {one["lab"]: one["status"] for one in items} == dict.fromkeys(LABS[:2], "pass")
    assert cli.labs() == {}
    assert snapshot.settle(before, [_made(cli)]) == {}


def test_what_a_killed_program_leaves_is_found_and_taken_down(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    before = snapshot.take([])
    started = cli.start("apply", *LABS)
    for _ in timeouts.ticks(60):
        if list(tmp_path.glob(".runs/*/labs/*")):
            break
    os.killpg(started.pid, signal.SIGKILL)
    started.communicate()
    assert len(cli.labs()) == 1
    cli("down", "--all")
    assert snapshot.settle(before, [_made(cli)]) == {}


def _made(cli: Cli) -> str:
    """The name of the machines that were made for labs."""
    run = next(path for path in cli.home.glob(".runs/*-bare-*") if path.is_dir())
    return run.name.partition("-")[2]


def test_labs_run_on_machines_that_are_up_and_a_report_tells_of_them(machines: tuple[Cli, str]) -> None:
    cli, name = machines
    assert status(cli, name) == dict.fromkeys(LABS, "pass")
    page = Path(cli("report", "--cluster", name).stdout.splitlines()[0])
    assert page.name == "report.html"
    assert LABS[0] in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "labs",
    [AGAIN, pytest.param([lab for lab in LABS if lab not in AGAIN], marks=pytest.mark.night)],
    ids=["few", "rest"],
)
def test_labs_run_again_on_the_same_machines(machines: tuple[Cli, str], labs: list[str]) -> None:
    cli, name = machines
    assert status(cli, name, *labs) == dict.fromkeys(labs, "pass")


def status(cli: Cli, name: str, *labs: str) -> dict[str, str]:
    """Run labs, all if none is named; what became of each."""
    items = json.loads(cli("apply", "--cluster", name, *labs, "-o", "json").stdout)["items"]
    return {one["lab"]: one["status"] for one in items}


@pytest.fixture
def learner(tmp_path: Path) -> Iterator[tuple[Cli, dict[str, str]]]:
    """Fresh machines, and the environment of a learner whose `cnilab` is this one."""
    cli, folder = Cli(tmp_path), tmp_path / "bin"
    folder.mkdir()
    program = folder / "cnilab"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m harness.cli.main "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    cli("up", "bare", "--name", f"{PREFIX}-typed")
    try:
        yield cli, {**cli.environment, "PATH": f"{folder}:{os.environ['PATH']}"}
    finally:
        cli("down", f"{PREFIX}-typed")


@pytest.mark.parametrize(
    "lab", [lab if lab in EVERY_COMMIT else pytest.param(lab, marks=pytest.mark.night) for lab in LABS]
)
def test_texts_do_not_lie(learner: tuple[Cli, dict[str, str]], lab: str) -> None:
    if lab in PROGRAMS and shutil.which(PROGRAMS[lab]) is None:
        pytest.skip(f"no {PROGRAMS[lab]} on this machine")
    cli, shell = learner
    wrong = type_all(TEXTS / lab / "README.md", shell, cli.home, seconds=60)
    assert wrong == [], "\n\n".join(wrong)
